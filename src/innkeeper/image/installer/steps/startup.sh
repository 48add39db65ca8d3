# Sourced at the installer's start: its parts for installing over a network give way to those of this disc.
awk 'BEGIN { RS = ""; ORS = "\n\n" }
    !/^Package: (brltty-udeb|choose-mirror|choose-mirror-bin|download-installer|ethdetect|net-retriever|netcfg|network-preseed|rdnssd-udeb|wpasupplicant-udeb|wide-dhcpv6-client-udeb)\n/' \
    /var/lib/dpkg/status >/tmp/status
cat /var/lib/dpkg/innkeeper-status >>/tmp/status
mv /tmp/status /var/lib/dpkg/status
