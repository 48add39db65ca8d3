"""virt-install's options: their words, and what they mean here."""
