"""The C{haloyd} command; the daemon itself is C{twistd haloyd}.

A command's module has its name; L{main} lists them all: L{adopt}, L{backup} (with
restore), L{certs}, L{config}, L{init}, L{manhole}, L{serve}, L{token}, L{uninstall},
L{upgrade}, L{verify} (with doctor), L{version}. They share L{options} and L{output};
L{owner} makes root act as haloyd's user, L{daemon} asks the haloyd that runs, L{engine}
Docker. L{reference} writes the manual.
"""
