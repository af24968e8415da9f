"""The command line: `main.main` is `hansa`.  Modules import what is slow only when it is used."""
