"""From the need of a certificate to a certificate that is served."""
