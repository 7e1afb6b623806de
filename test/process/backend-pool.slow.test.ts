// deadline: 300 s
/** Clusters as people have them, snapshots and clones and all, in a pool of libvirt's own backend for sheepdog. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type OldLibvirt, requiresOldLibvirt } from '../helpers/built-libvirt.js';
import { runDogProcess } from '../helpers/launcher.js';
import { type BackendWorld, withBackend } from '../helpers/libvirt-backend.js';
import { requiresLibvirtd } from '../helpers/libvirtd.js';
import { poolXml, virshAt } from '../helpers/pool-daemon.js';

const MIB = 2 ** 20;

const withOldLibvirt = requiresOldLibvirt(requiresLibvirtd(test));

async function dog({ cluster }: BackendWorld, words: readonly string[], input?: Buffer): Promise<string> {
  const all = [...words, '-p', `${cluster.sheep[0]!.port}`];
  const { exit, stdout, stderr } = await runDogProcess(all, input === undefined ? {} : { input });
  assert.is(exit, 0, `dog ${words.join(' ')}: ${stderr}`);
  return stdout;
}

/** A volume with data and a snapshot, a clone of that, and a name that libvirt cannot read. */
async function makeFamily(world: BackendWorld): Promise<void> {
  await dog(world, ['vdi', 'create', 'base', '16M']);
  await dog(world, ['vdi', 'write', 'base', '0', `${MIB}`], Buffer.alloc(MIB, 'sheep'));
  await dog(world, ['vdi', 'snapshot', '-s', 'one', 'base']);
  await dog(world, ['vdi', 'clone', '-s', 'one', 'base', 'copy']);
  await dog(world, ['vdi', 'create', 'two words', '4M']);
  const xml = join(world.folder, 'pool.xml');
  writeFileSync(xml, poolXml('vms', world.cluster.sheep[0]!.port, 'ns'));
  await world.libvirtd.mustVirsh('pool-define', xml);
}

const volumes = (list: string): string[] =>
  list
    .split('\n')
    .map((line) => line.trim().split(/ +/)[0]!)
    .filter((name) => name !== '')
    .sort();

async function readable(world: BackendWorld, { virsh }: OldLibvirt): Promise<void> {
  const { libvirtd } = world;
  await libvirtd.mustVirsh('pool-start', 'vms');
  assert.equal(volumes(await libvirtd.mustVirsh('vol-list', 'vms')), ['base', 'copy']);
  const [, total = ''] = /^Total (\d+) /m.exec(await dog(world, ['node', 'info', '-r'])) ?? [];
  const info = await libvirtd.mustVirsh('pool-info', 'vms', '--bytes');
  const [, capacity = ''] = /^Capacity: +(\d+)$/m.exec(info) ?? [];
  // Others write to the same disk meanwhile.
  assert.ok(Math.abs(Number(capacity) / Number(total) - 1) < 0.1, `${capacity} of ${total}`);
  // The virsh of that time says the same.
  const old = await virshAt(libvirtd.uri, ['vol-list', 'vms'], { program: [virsh] });
  assert.equal([old.exit, volumes(old.stdout)], [0, ['base', 'copy']]);
  await dog(world, ['vdi', 'write', 'copy', '0', `${MIB}`], Buffer.alloc(MIB, 'clone'));
  const copy = await libvirtd.mustVirsh('vol-info', 'copy', 'vms', '--bytes');
  assert.match(copy, /Capacity: +16777216 bytes\nAllocation: +4194304 bytes/);
}

/** What others do to the cluster, libvirt learns with the next refresh; until then `dog` refuses what must not be. */
async function behindItsBack(world: BackendWorld): Promise<void> {
  const { libvirtd } = world;
  await dog(world, ['vdi', 'create', 'later', '4M']);
  const { code, stderr } = await libvirtd.virsh('vol-create-as', 'vms', 'later', '4M');
  assert.is(code, 1);
  assert.match(stderr, /dog vdi create later 4194304 .*Failed to create VDI later: VDI exists already/);
  await libvirtd.mustVirsh('vol-delete', 'base', 'vms');
  assert.equal(volumes(await libvirtd.mustVirsh('vol-list', 'vms')), ['copy']);
  await libvirtd.mustVirsh('pool-refresh', 'vms');
  assert.equal(volumes(await libvirtd.mustVirsh('vol-list', 'vms')), ['copy', 'later']);
  assert.match(await dog(world, ['vdi', 'list', '-r']), /^s base /m);
}

withOldLibvirt('snapshots, clones and blanks in names do not stop a pool', (libvirt) =>
  withBackend(libvirt, { SHEEPFOLD_DOG_COMPAT: 'libvirt' }, async (world) => {
    await makeFamily(world);
    await readable(world, libvirt);
    await behindItsBack(world);
  }),
);

withOldLibvirt('without the variable a snapshot stops the pool, as it did with the original', (libvirt) =>
  withBackend(libvirt, {}, async (world) => {
    await makeFamily(world);
    const { code, stderr } = await world.libvirtd.virsh('pool-start', 'vms');
    assert.is.not(code, 0);
    assert.match(stderr, /Duplicate hash table key 'ns\/base'/);
  }),
);

test.run();
