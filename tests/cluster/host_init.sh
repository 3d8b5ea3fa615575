#!/bin/bash
# First process of a pretend machine; `hosts.py` starts it in namespaces of its own.
# It lays a writable copy over this machine's files, so that nothing which the pretend machine
# writes is seen elsewhere, and then is the machine's sshd.
#   host_init.sh NAME ADDRESS FOLDER [KEPT]...
#     FOLDER  has key, key.pub, hostkey, hosts, profile, shared/ and disks/; the machine's root comes below it
#     KEPT    paths of this machine that lie in /tmp or on another disk, and that it must see too
set -euo pipefail
name=$1 address=$2 folder=$3
shift 3

overlay() {  # a private, writable view of $1 at $2; what is written stays on the machine's disk
  local upper=$scratch/${1//\//_}
  mkdir -p "$upper/up" "$upper/work" "$2"
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$upper/up,workdir=$upper/work" "$2"
}

mount --make-rprivate /
hostname "$name"
scratch=$folder/disks/$name root=$folder/$name/root
mkdir -p "$scratch" "$root"
overlay / "$root"
mount -t tmpfs tmpfs "$root/tmp"
for kept in "$@"; do overlay "$kept" "$root$kept"; done
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o size=1g tmpfs "$root/dev/shm"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/run/sshd" "$root/mnt/shared"
mount --bind "$folder/shared" "$root/mnt/shared"  # what a network's disk is elsewhere

if [ ! -e "$scratch/installed" ]; then  # new from the factory
  { echo "127.0.0.1 localhost"; cat "$folder/hosts"; } >"$root/etc/hosts"
  rm -rf "$root/root/.ray" "$root/root/.ssh" "$root/root/.bash_profile" "$root/root/.profile"
  mkdir -m 700 "$root/root/.ssh"
  install -m 600 "$folder/key" "$root/root/.ssh/id_ed25519"
  install -m 600 "$folder/key.pub" "$root/root/.ssh/authorized_keys"
  install -m 600 "$folder/hostkey" "$root/etc/ssh/pretend_host_key"
  install -m 644 "$folder/profile" "$root/root/.bashrc"
  touch "$scratch/installed"
fi
touch "$folder/$name/ready"

# sshd is not the first process itself: somebody must wait for what others leave behind.
exec chroot "$root" /bin/bash -c '
  /usr/sbin/sshd -D -e -f /dev/null -h /etc/ssh/pretend_host_key -o ListenAddress="$1" -o PidFile=none \
    -o PermitRootLogin=prohibit-password -o PasswordAuthentication=no -o UsePAM=no -o StrictModes=no \
    -o "Subsystem=sftp internal-sftp" 2>/run/sshd.log &
  while :; do wait -n 2>/dev/null || sleep 0.2; done' sshd "$address"
