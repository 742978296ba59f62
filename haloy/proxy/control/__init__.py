"""What haloyd and a proxy in processes of its own say to each other."""
