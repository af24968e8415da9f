r"""What is inside the tiny guest: its init, and the pages that prove what it is.

Every word that the guest says over HTTP it has read in itself: its kernel, its network card, its
disk and its seed.  `/` tells what it is, `/cgi-bin/fetch?URL` asks another, `/cgi-bin/note?TEXT`
writes on its disk, and `/notes`, which is there once the disk is, reads it.  Pure.
"""

from typing import Final

MODULES: Final = (  # In the order of their needs.
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("failover", "net_failover", "virtio_net", "virtio_blk"),
)
SEED_MODULES: Final = ("cdrom", "isofs")
LATE_MODULES: Final = ("button", "evdev", "pvpanic", "pvpanic-pci")
"""Not needed to answer: the power button, and the wire to tell of a panic."""
FAT_MODULES: Final = ("nls_cp437", "nls_ascii", "fat", "vfat")
CMDLINE: Final = (
    "quiet loglevel=0 nokaslr mitigations=off random.trust_cpu=on audit=0 cryptomgr.notests "
    "8250.nr_uarts=1 init_on_alloc=0 panic=10"
)

INIT: Final = r"""#!/bin/sh
# In emulation each process costs ten milliseconds: up to its first answer this starts few.
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
load() { for of in "/lib/$1"/*.ko; do insmod "$of" 2>/dev/null; done; }
load early
ip link set lo up

for disk in /sys/block/vd*; do
  read -r is_read_only <"$disk/ro"
  [ "$is_read_only" = 1 ] || continue
  load seed; mount -t iso9660 -o ro "/dev/${disk##*/}" /seed
done
words /seed/meta-data /seed/network-config >/run/words 2>/dev/null
while read -r key value; do
  [ "$key" = local-hostname: ] && echo "$value" >/proc/sys/kernel/hostname
done </run/words
awk -f /lib/nics.awk </run/words >/run/nics
while read -r mac address via mtu; do
  for nic in /sys/class/net/*; do
    read -r own <"$nic/address"
    nic=${nic##*/}
    [ "$own" = "$mac" ] || [ "$mac $nic" = "- eth0" ] || continue
    [ "$mtu" = - ] && mtu=1500
    ip link set "$nic" up mtu "$mtu"
    [ "$address" = - ] || ip addr add "$address" dev "$nic"
    [ "$via" = - ] || { ip route add "$via" dev "$nic"; ip route add default via "$via"; }
  done
done </run/nics

read -r boot_id </proc/sys/kernel/random/boot_id
read -r kernel </proc/sys/kernel/osrelease
read -r hostname </proc/sys/kernel/hostname
read -r mac address rest </run/nics
[ -e /sys/class/net/eth0 ] && read -r mac </sys/class/net/eth0/address
user_data=$(awk -f /lib/quote.awk /seed/user-data 2>/dev/null)
cat >/www/index.html <<EOF
{"boot_id": "$boot_id",
 "kernel": "$kernel",
 "mac": "$mac",
 "hostname": "$hostname",
 "address": "${address%/*}",
 "user_data": ${user_data:-'""'}}
EOF
httpd -p 80 -h /www -c /etc/httpd.conf

# The disk it was given, if it is one to write on; a new one gets a small file system.
case $(dd if=/dev/vda bs=1 skip=54 count=3 2>/dev/null) in
  FAT) load fat; mount -t vfat /dev/vda /data ;;
  *) mount -t ext4 /dev/vda /data || [ -n "$(head -c 65536 /dev/vda | tr -d '\0')" ] ||
     { mke2fs -F /dev/vda 8192 && mount -t ext4 /dev/vda /data; } ;;
esac >/dev/null 2>&1
touch /data/notes
load late
mkdir -p /dev/pts; mount -t devpts pts /dev/pts
acpid -l /dev/null
if [ "$(head -c 2 /seed/user-data 2>/dev/null)" = '#!' ]; then
  cp /seed/user-data /run/user-data; chmod 700 /run/user-data
  /run/user-data </dev/null >/run/user-data.log 2>&1 &
fi
echo hansa-ready >/dev/console
while :; do setsid cttyhack sh </dev/console >/dev/console 2>&1; sleep 1; done
"""

_POWER_OFF = """#!/bin/sh
sync; umount /data; echo hansa-off >/dev/console; poweroff -f
"""
# YAML and JSON alike, as one `key: value` a line: enough for a NoCloud seed, and no more.
_WORDS = r"""#!/bin/sh
sed -e 's/"[ ]*:/: /g' -e "s/[][{},\"']/ /g" -e 's/^\( *\)- /\1/' "$@" | awk '
  { for (i = 1; i <= NF; i++) if ($i ~ /:$/) { key = $i; if (NF == i || $(i + 1) ~ /:$/) print key }
    else if ($i != "-" && $i !~ /^#/) print key, $i }'
"""
_NICS = r"""
function tell() {
  if (mac address != "") print (mac ? mac : "-"), (address ? address : "-"), \
    (via ? via : "-"), (mtu ? mtu : "-")
  mac = address = via = mtu = ""
}
BEGIN {
  split("network: version: match: driver: name: set-name: addresses: routes: to: metric: on-link: "\
    "nameservers: search: dhcp4: dhcp6: optional: gateway6: renderer: accept-ra:", list, " ")
  for (i in list) known[list[i]]
}
$1 == "macaddress:" { mac = tolower($2); next }
$1 == "addresses:" { if ($2 ~ /^[0-9.]+\/[0-9]+$/ && address == "") address = $2; next }
$1 == "via:" || $1 == "gateway4:" { if (via == "" && $2 ~ /^[0-9.]+$/) via = $2; next }
$1 == "mtu:" { if ($2 != "") mtu = $2; next }
!($1 in known) { tell() }
END { tell() }
"""
_QUOTE = r"""
BEGIN { for (i = 0; i < 32; i++) escape[sprintf("%c", i)] = sprintf("\\u%04x", i); printf "\"" }
NR > 1 { printf "\\n" }
{ gsub(/\\/, "\\\\"); gsub(/"/, "\\\"")
  if ($0 ~ /[\001-\037]/) {
    out = ""
    for (i = 1; i <= length($0); i++) {
      c = substr($0, i, 1); out = out (c in escape ? escape[c] : c)
    }
    $0 = out
  }
  printf "%s", $0 }
END { printf "\"" }
"""
_FETCH = """#!/bin/sh
# Not wget's own -T: with it, this busybox ends by a segmentation fault.
if timeout 5 wget -q -O /run/fetched.$$ "$QUERY_STRING" 2>/run/why.$$; then
  printf 'Content-Type: application/json\\r\\n\\r\\n'; cat /run/fetched.$$
else
  printf 'Status: 502 Bad Gateway\\r\\nContent-Type: text/plain\\r\\n\\r\\n'; cat /run/why.$$
fi
rm -f /run/fetched.$$ /run/why.$$
"""
_NOTE = """#!/bin/sh
until [ -e /data/notes ]; do usleep 50000; done
echo "$QUERY_STRING" >>/data/notes && sync
printf 'Content-Type: text/plain\\r\\n\\r\\n'; cat /data/notes
"""
DIRECTORIES: Final = (
    *("bin", "data", "dev", "etc", "etc/acpi", "etc/acpi/PWRF", "lib", "lib/early", "lib/late"),
    *("lib/fat", "lib/seed", "proc", "root", "run", "seed", "sys", "tmp", "www"),
    "www/cgi-bin",
)
FILES: Final = {
    "init": INIT,
    "bin/words": _WORDS,
    "etc/acpi/PWRF/00000080": _POWER_OFF,
    "etc/group": "root:x:0:\n",
    "etc/httpd.conf": ".html:application/json\n",
    "etc/passwd": "root::0:0:root:/root:/bin/sh\n",
    "lib/nics.awk": _NICS,
    "lib/quote.awk": _QUOTE,
    "www/cgi-bin/fetch": _FETCH,
    "www/cgi-bin/note": _NOTE,
}
LINKS: Final = {"www/notes": "/data/notes"}
