"""A machine's screen and serial console for people: a page that this host serves to a browser, a file for virt-viewer."""
