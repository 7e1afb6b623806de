// deadline: 400 s
/** A guest as it ran for years: a pool of libvirt's own backend for sheepdog, and QEMU's own driver for its disk. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { oldLibvirt } from '../helpers/built-libvirt.js';
import { GuestDomain } from '../helpers/guest-domain.js';
import { guestFiles } from '../helpers/guest-files.js';
import { runDogProcess } from '../helpers/launcher.js';
import { withBackend } from '../helpers/libvirt-backend.js';
import { requiresLibvirtd } from '../helpers/libvirtd.js';
import { oldQemu } from '../helpers/old-qemu.js';
import { poolXml } from '../helpers/pool-daemon.js';
import { requiresPrepared } from '../helpers/prepared.js';

const MIB = 2 ** 20;
const BOOT_DEADLINE_MS = 120_000;

const [libvirt, qemu, files] = [oldLibvirt(), oldQemu(), guestFiles()];
const prepared = libvirt && qemu && files && { libvirt, qemu, files };
const names = 'the old libvirt, the old QEMU, the guest: scripts/setup.sh all';

requiresPrepared(
  requiresLibvirtd(test),
  prepared,
  names,
)("a guest runs on a volume that libvirt's own backend made", ({ libvirt, qemu, files }) =>
  withBackend(libvirt, { SHEEPFOLD_DOG_COMPAT: 'libvirt' }, async ({ cluster, libvirtd }) => {
    const { port } = cluster.sheep[0]!;
    await libvirtd.mustVirsh('pool-create', libvirtd.file('pool.xml', poolXml('vms', port, 'old')));
    await libvirtd.mustVirsh('vol-create-as', 'vms', 'disk', '16M');
    const guest = new GuestDomain({ name: 'guest', volume: 'disk', files, emulator: qemu.system });
    const source = `<source protocol='sheepdog' name='disk'><host name='127.0.0.1' port='${port}'/></source>`;
    const xml = guest.xml.replace(/<source protocol='nbd'[\s\S]*?<\/source>/, source);
    await libvirtd.mustVirsh('create', libvirtd.file('guest.xml', xml));
    const console = await guest.console(libvirtd, BOOT_DEADLINE_MS);
    assert.is(await console.must('cat /sys/block/vda/size'), `${(16 * MIB) / 512}`);
    await console.must('echo from the guest | dd of=/dev/vda bs=512 seek=9000 conv=sync,fsync 2>/dev/null');
    console.close();
    const read = ['vdi', 'read', 'disk', `${9000 * 512}`, '14', '-p', `${port}`];
    assert.is((await runDogProcess(read)).stdout, 'from the guest');
  }),
);

test.run();
