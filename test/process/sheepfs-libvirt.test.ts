/** The `dir` pool of a monolithic libvirtd on a mount of sheepfs, command by command beside one on a plain folder. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Libvirtd, requiresLibvirtd } from '../helpers/libvirtd.js';
import { canMount, withMount } from '../helpers/sheepfs-mount.js';

const DEADLINE_MS = 240_000;
const MIB = 2 ** 20;

/** `POOL` is the pool's name, `DIR` its folder, `TMP` a place for files beside it. */
const commands = `
pool-define-as POOL dir --target DIR
pool-build POOL
pool-start POOL
pool-autostart POOL
pool-info POOL
pool-dumpxml POOL
pool-refresh POOL
vol-create-as POOL full 24M
vol-create-as POOL thin 64M --allocation 0
vol-create-as POOL thin 64M
vol-create-as POOL image 256M --format qcow2
vol-create-as POOL child 256M --format qcow2 --backing-vol image --backing-vol-format qcow2
vol-list POOL
vol-list POOL --details
vol-info full POOL
vol-info thin POOL --bytes
vol-info absent POOL
vol-dumpxml image POOL
vol-path full POOL
vol-key full POOL
vol-pool DIR/full
vol-name DIR/full
vol-resize thin 96M POOL
vol-resize full 32M POOL --allocate
vol-resize full 16M POOL
vol-resize full 16M POOL --shrink
vol-resize image 300M POOL
vol-clone full full-clone POOL
vol-clone image image-clone POOL
vol-clone full reflinked POOL --reflink
vol-upload thin TMP/source POOL
vol-upload thin TMP/source POOL --offset 8M --length 1M
vol-upload thin TMP/sparse POOL --sparse
vol-download thin TMP/POOL.download POOL
vol-download thin TMP/POOL.sparse POOL --sparse
vol-create-from POOL TMP/volume.xml thin --inputpool POOL
vol-wipe full POOL
vol-wipe full POOL --algorithm random
vol-list POOL
vol-delete full-clone POOL
vol-delete absent POOL
vol-delete child POOL
vol-delete full POOL
pool-refresh POOL
vol-list POOL
pool-destroy POOL
pool-start POOL
vol-list POOL
pool-destroy POOL
pool-delete POOL
pool-undefine POOL
`;

const withLibvirt = requiresLibvirtd(test, 'qemu-img', ...(canMount ? [] : ['/dev/fuse and root']));

withLibvirt('every command of virsh ends as it does on a plain folder', () =>
  withMount({ sheep: 1, copies: 1, deadlineMs: DEADLINE_MS }, async (mount, cluster) => {
    const plain = join(cluster.folder, 'plain');
    mkdirSync(plain);
    writeSources(cluster.folder);
    const libvirt = await Libvirtd.start({ name: 'files' });
    const outcomes: Record<string, string[]> = { sheep: [], plain: [] };
    try {
      for (const [pool, folder] of [
        ['sheep', mount.path],
        ['plain', plain],
      ] as const) {
        for (const command of commands.trim().split('\n')) {
          const words = command.split(' ').map((word) => filled(word, pool, folder, cluster.folder));
          const { code, stdout, stderr } = await libvirt.virsh(...words);
          outcomes[pool]!.push(`${command}\n  ${code} ${said(stdout + stderr, pool, folder)}`);
        }
      }
    } finally {
      await libvirt.stop();
    }
    assert.equal(outcomes.sheep, outcomes.plain);
    const download = (pool: string, kind: string) => readFileSync(join(cluster.folder, `${pool}.${kind}`));
    for (const kind of ['download', 'sparse'])
      assert.ok(download('sheep', kind).equals(download('plain', kind)), kind);
    assert.is(statSync(join(cluster.folder, 'sheep.download')).size, 96 * MIB);
  }),
);

function filled(word: string, pool: string, folder: string, tmp: string): string {
  return word.replace('POOL', pool).replace('DIR', folder).replace('TMP', tmp);
}

/** What was printed, without what must differ: names, numbers of the file system, room taken, times. */
function said(text: string, pool: string, folder: string): string {
  return (
    text
      .replaceAll(folder, 'DIR')
      .replaceAll(new RegExp(`\\b${pool}\\b`, 'g'), 'POOL')
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
      .replaceAll(/<(allocation|available|capacity|atime|mtime|ctime|btime|mode|label)\b.*\n/g, '')
      .replaceAll(/^(Allocation|Available|Capacity): .*$/gm, '')
      .replaceAll(/[\d.]+ [KMG]iB/g, 'SIZE')
      // A folder that something is mounted on cannot be removed either, for a reason of its own.
      .replace('Device or resource busy', 'Directory not empty')
      .replaceAll(/-{3,}/g, '-')
      .replaceAll(/ +/g, ' ')
      .trim()
  );
}

function writeSources(folder: string): void {
  const sparse = Buffer.alloc(16 * MIB);
  sparse.fill(7, 5 * MIB, 6 * MIB);
  writeFileSync(join(folder, 'source'), Buffer.alloc(12 * MIB, 'sheep'));
  writeFileSync(join(folder, 'sparse'), sparse);
  writeFileSync(
    join(folder, 'volume.xml'),
    '<volume><name>from</name><capacity unit="M">128</capacity><allocation>0</allocation></volume>\n',
  );
}

test.run();
