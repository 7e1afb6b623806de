// deadline: 120 s
/** Content of volumes through libvirt: streams, clones, snapshots, formats; and clients that stop half-way. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageStatus, MessageType } from '../../pool-backend/rpc/message.js';
import type { PoolName } from '../../pool-backend/rpc/procedures.js';
import { LibvirtClient, type Refused } from '../helpers/libvirt-client.js';
import { PoolDaemon, poolXml } from '../helpers/pool-daemon.js';
import { type RealCluster, withCluster, within } from '../helpers/real-cluster.js';
import { hasTool, requires } from '../helpers/requires.js';

const MIB = 1024 * 1024;
const NOTHING = Buffer.alloc(0);
const DEADLINE_MS = 20_000;

interface World {
  readonly cluster: RealCluster;
  readonly daemon: PoolDaemon;
  readonly folder: string;
}

/** Text whose place in the file can be told. */
function pattern(bytes: number): Buffer {
  const out = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) out.writeUInt32BE((at * 2_654_435_761) >>> 0, at);
  return out;
}

async function transfers({ daemon, folder }: World): Promise<void> {
  const file = (name: string) => join(folder, name);
  const data = pattern(10 * MIB + 4096);
  writeFileSync(file('data'), data);
  await daemon.ok('vol-create-as', 'vms', 'disk', '64M');
  await daemon.ok('vol-upload', 'disk', file('data'), '--pool', 'vms', '--offset', String(8 * MIB));
  const words = ['vol-download', 'disk', file('part'), '--pool', 'vms', '--offset', String(8 * MIB)];
  await daemon.ok(...words, '--length', String(data.length));
  assert.ok(readFileSync(file('part')).equals(data));
  await daemon.ok('vol-download', 'disk', file('sparse'), '--pool', 'vms', '--sparse');
  const sparse = readFileSync(file('sparse'));
  assert.is(sparse.length, 64 * MIB);
  assert.ok(sparse.subarray(8 * MIB, 8 * MIB + data.length).equals(data));
  assert.ok(statSync(file('sparse')).blocks * 512 < 20 * MIB, 'holes came as holes');
  // A file that is almost all hole takes no room, and makes zeroes of what was there.
  writeFileSync(file('hollow'), 'head');
  truncateSync(file('hollow'), 64 * MIB);
  await daemon.ok('vol-upload', 'disk', file('hollow'), '--pool', 'vms', '--sparse');
  assert.match(await daemon.ok('vol-info', 'disk', 'vms'), /Allocation: +4.00 MiB/);
  await daemon.ok('vol-download', 'disk', file('back'), '--pool', 'vms');
  assert.ok(readFileSync(file('back')).equals(readFileSync(file('hollow'))));
}

/** The call behind wipes and holes: any range, by any sheep, and none beyond the volume. */
async function discards({ cluster, daemon, folder }: World): Promise<void> {
  const file = (name: string) => join(folder, name);
  const data = pattern(8 * MIB);
  writeFileSync(file('data'), data);
  await daemon.ok('vol-create-as', 'vms', 'holes', '8M');
  await daemon.ok('vol-upload', 'holes', file('data'), '--pool', 'vms');
  const [offset, length] = [1000, 5 * MIB];
  for (const one of cluster.sheep) await one.call('vdi.discard', { name: 'ns~holes', offset, length });
  data.fill(0, offset, offset + length);
  await daemon.ok('vol-download', 'holes', file('out'), '--pool', 'vms');
  assert.ok(readFileSync(file('out')).equals(data));
  for (const [at, bytes] of [
    [8 * MIB, 1],
    [-1, 1],
    [0, 8 * MIB + 1],
  ] as const) {
    const range = { name: 'ns~holes', offset: at, length: bytes };
    const outcome = await cluster.call('vdi.discard', range).catch((error: Error) => error.message);
    assert.match(String(outcome), /must be an integer from 0/);
  }
  await daemon.ok('vol-delete', 'holes', 'vms');
}

async function clonesAndSnapshots({ cluster, daemon, folder }: World): Promise<void> {
  const file = (name: string) => join(folder, name);
  const [old, fresh] = [pattern(MIB), Buffer.alloc(MIB, 'new')];
  writeFileSync(file('old'), old);
  writeFileSync(file('new'), fresh);
  const upload = (name: string) => daemon.ok('vol-upload', 'base', file(name), '--pool', 'vms');
  const content = async (name: string) => {
    await daemon.ok('vol-download', name, file('out'), '--pool', 'vms', '--length', String(MIB));
    return readFileSync(file('out'));
  };
  await daemon.ok('vol-create-as', 'vms', 'base', '32M');
  await upload('old');
  await daemon.ok('vol-clone', 'base', 'copy', '--pool', 'vms');
  await cluster.call('vdi.snapshot', { name: 'ns~base', tag: 'monday' });
  await upload('new');
  await daemon.ok('vol-create-as', 'vms', 'thin', '48M', '--backing-vol', 'base@monday');
  assert.ok((await content('copy')).equals(old));
  assert.ok((await content('thin')).equals(old));
  assert.ok((await content('base@monday')).equals(old));
  assert.ok((await content('base')).equals(fresh));
  assert.match(await daemon.ok('vol-info', 'thin', 'vms'), /Capacity: +48.00 MiB\nAllocation: +0.00 B/);
  // The snapshot that the clone was made of is gone; the one somebody made is not a volume.
  const tags = (await cluster.call('vdi.list', { name: 'ns~base' })).map(({ tag }) => tag);
  assert.equal(tags.sort(), ['', 'monday']);
  const list = await daemon.ok('vol-list', 'vms');
  assert.equal([...list.matchAll(/^ (\S+)/gm)].map(([, name]) => name).sort(), [
    'base',
    'copy',
    'disk',
    'thin',
  ]);
  // What is frozen stays as it is.
  assert.match(await daemon.refused('vol-wipe', 'base@monday', 'vms'), /is a snapshot: nobody can change it/);
  assert.match(await daemon.refused('vol-delete', 'base', 'vms'), /volume 'base' has 1 snapshots/);
  await daemon.ok('vol-delete', 'base', 'vms', '--delete-snapshots');
  assert.equal(await cluster.call('vdi.list', { name: 'ns~base' }), []);
  assert.ok((await content('copy')).equals(old));
  assert.ok((await content('thin')).equals(old));
}

async function formats({ daemon, folder }: World): Promise<void> {
  await daemon.ok('vol-create-as', 'vms', 'image', '64M', '--format', 'qcow2');
  assert.match(await daemon.ok('vol-dumpxml', 'image', 'vms'), /67108864<[\s\S]*<format type='qcow2'\/>/);
  await daemon.ok('vol-clone', 'image', 'second', '--pool', 'vms');
  assert.match(await daemon.ok('vol-dumpxml', 'second', 'vms'), /67108864<[\s\S]*<format type='qcow2'\/>/);
  assert.match(await daemon.refused('vol-resize', 'image', '128M', '--pool', 'vms'), /resized with qemu-img/);
  assert.match(await daemon.refused('vol-create-as', 'vms', 'v', '1M', '--format', 'vmdk'), /raw or qcow2/);
  // A raw volume stays one, whatever its guest writes into it.
  const image = join(folder, 'qcow2');
  await daemon.ok('vol-download', 'image', image, '--pool', 'vms', '--length', String(MIB));
  await daemon.ok('vol-create-as', 'vms', 'trap', '2M');
  await daemon.ok('vol-upload', 'trap', image, '--pool', 'vms');
  assert.match(await daemon.ok('vol-dumpxml', 'trap', 'vms'), /<format type='raw'\/>/);
  if (!hasTool('qemu-img')) return;
  for (const name of ['image', 'second']) {
    const path = (await daemon.ok('vol-path', name, 'vms')).trim();
    const checked = execFileSync('qemu-img', ['check', '-f', 'qcow2', path], { encoding: 'utf8' });
    assert.match(checked, /No errors were found/);
    const io = ['-f', 'qcow2', '-c', 'write -P 7 1M 1M', '-c', 'read -P 7 1M 1M', path];
    assert.not.match(execFileSync('qemu-io', io, { encoding: 'utf8' }), /fail/i);
  }
  await daemon.ok('vol-wipe', 'image', 'vms');
  const path = (await daemon.ok('vol-path', 'image', 'vms')).trim();
  assert.match(execFileSync('qemu-img', ['check', '-f', 'qcow2', path], { encoding: 'utf8' }), /No errors/);
}

async function oddNames({ daemon, folder }: World): Promise<void> {
  const file = join(folder, 'volume.xml');
  for (const name of ['a:b', 'two words', 'größe-磁盘', `it's "<&>"`, '%2e%2e', 'x?y#z', 'a~b']) {
    // As a file: vol-create-as puts a name into its XML as it is.
    const inXml = name.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
    writeFileSync(file, `<volume><name>${inXml}</name><capacity unit='M'>1</capacity></volume>`);
    await daemon.ok('vol-create', 'vms', file);
    const path = (await daemon.ok('vol-path', name, 'vms')).trimEnd();
    const key = (await daemon.ok('vol-key', name, 'vms')).trimEnd();
    assert.is((await daemon.ok('vol-name', path)).trim(), name);
    assert.is((await daemon.ok('vol-name', key)).trim(), name);
    await daemon.ok('vol-delete', name, 'vms');
  }
  assert.match(await daemon.refused('vol-create-as', 'vms', 'a/b', '1M'), /cannot contain '\/'/);
  assert.match(await daemon.refused('vol-create-as', 'vms', 'a@b', '1M'), /cannot contain '@'/);
  assert.match(await daemon.refused('vol-create-as', 'vms', 'x'.repeat(253), '1M'), /longer than 252 bytes/);
}

async function namespaces({ cluster, daemon, folder }: World): Promise<void> {
  const { port } = cluster.sheep[1]!;
  writeFileSync(join(folder, 'root.xml'), poolXml('root', port));
  writeFileSync(join(folder, 'same.xml'), poolXml('same', port, 'ns'));
  await daemon.ok('pool-create', join(folder, 'root.xml'));
  await daemon.ok('vol-create-as', 'root', 'disk', '2M');
  assert.match(await daemon.ok('vol-info', 'disk', 'root'), /2.00 MiB/);
  assert.match(await daemon.ok('vol-info', 'disk', 'vms'), /64.00 MiB/);
  assert.match(await daemon.refused('vol-create-as', 'root', 'ns~mine', '1M'), /of another pool/);
  // The same namespace of the same cluster, by way of another sheep.
  assert.match(
    await daemon.refused('pool-create', join(folder, 'same.xml')),
    /Storage source conflict.*'vms'/,
  );
  await daemon.ok('vol-delete', 'disk', 'root');
  await daemon.ok('pool-destroy', 'root');
}

/** One volume by two clients; transfers that nobody finishes, too long, and of what is not there. */
async function contention({ daemon }: World): Promise<void> {
  const clients = await Promise.all(Array.from({ length: 8 }, () => LibvirtClient.open(daemon.socket)));
  const [first] = clients as [LibvirtClient];
  const { pool } = await first.call('storagePoolLookupByName', { name: 'vms' });
  const xml = '<volume><name>race</name><capacity>1048576</capacity></volume>';
  const made = await Promise.allSettled(
    clients.map((client) => client.call('storageVolCreateXml', { pool, xml, flags: 0 })),
  );
  assert.is(made.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const one of made) {
    if (one.status === 'rejected') {
      assert.equal(
        [(one.reason as Refused).wire.code, (one.reason as Refused).wire.message],
        [90, "storage volume 'race' exists already"],
      );
    }
  }
  await halfUpload(first, clients[1]!, pool);
  await tooLong(first, pool);
  for (const client of clients) client.close();
}

async function halfUpload(first: LibvirtClient, second: LibvirtClient, pool: PoolName): Promise<void> {
  const { volume } = await second.call('storageVolLookupByName', { pool, name: 'race' });
  const all = { volume, offset: 0n, length: 0n, flags: 0 };
  const serial = first.begin('storageVolUpload', all);
  await first.reply(serial);
  first.packet('storageVolUpload', serial, Buffer.alloc(200_000, 1));
  const busy = await second
    .call('storageVolDelete', { volume, flags: 0 })
    .catch((error: Refused) => error.wire);
  assert.is(
    (busy as Refused['wire']).message,
    "Requested operation is not valid: volume 'race' is still in use.",
  );
  // Given up: confirmed, and the volume is free.
  first.packet('storageVolUpload', serial, NOTHING, MessageStatus.error);
  assert.is((await first.nextPacket(serial)).status, MessageStatus.ok);
  // Cut off in the middle: free as well.
  const lost = second.begin('storageVolUpload', all);
  await second.reply(lost);
  second.packet('storageVolUpload', lost, Buffer.alloc(200_000, 2));
  second.close();
  await within(DEADLINE_MS, 'the volume is free', () =>
    first
      .call('storageVolWipe', { volume, flags: 0 })
      .then(() => true)
      .catch(() => false),
  );
}

async function tooLong(client: LibvirtClient, pool: PoolName): Promise<void> {
  const { volume } = await client.call('storageVolLookupByName', { pool, name: 'race' });
  const serial = client.begin('storageVolUpload', { volume, offset: 0n, length: 0n, flags: 0 });
  await client.reply(serial);
  for (let sent = 0; sent < 2 * MIB; sent += 262_120) {
    client.packet('storageVolUpload', serial, Buffer.alloc(262_120, 3));
  }
  const failed = await client.nextPacket(serial);
  assert.equal([failed.type, failed.status], [MessageType.stream, MessageStatus.error]);
  assert.match(failed.body.toString('latin1'), 'No space left on device');
  await client.call('storageVolDelete', { volume, flags: 0 });
}

/** A client that asks for much and reads nothing must not fill the daemon's memory. */
async function slowReader({ daemon }: World): Promise<void> {
  await daemon.ok('vol-create-as', 'vms', 'long', '1G');
  const client = await LibvirtClient.open(daemon.socket);
  const { pool } = await client.call('storagePoolLookupByName', { name: 'vms' });
  const { volume } = await client.call('storageVolLookupByName', { pool, name: 'long' });
  const serial = client.begin('storageVolDownload', { volume, offset: 0n, length: 0n, flags: 0 });
  await client.reply(serial);
  client.socket.pause();
  const before = daemon.residentBytes;
  // Others are served meanwhile.
  for (let round = 0; round < 5; round++) await daemon.ok('vol-list', 'vms');
  assert.ok(daemon.residentBytes - before < 100 * MIB, `${(daemon.residentBytes - before) / MIB} MiB more`);
  client.close();
  await within(DEADLINE_MS, 'the volume is free', async () => {
    const { exit } = await daemon.virsh('vol-delete', 'long', 'vms');
    return exit === 0;
  });
}

requires(test, 'virsh')('content goes in and out, is shared and kept apart, and nothing is half-made', () =>
  withCluster({ deadlineMs: 110_000 }, async (cluster) => {
    const folder = mkdtempSync(join(tmpdir(), 'sheepfold-pools-'));
    writeFileSync(join(folder, 'pool.xml'), poolXml('vms', cluster.sheep[0]!.port, 'ns'));
    try {
      await PoolDaemon.with(folder, [], async (daemon) => {
        await daemon.ok('pool-define', join(folder, 'pool.xml'));
        await daemon.ok('pool-start', 'vms');
        const world = { cluster, daemon, folder };
        await transfers(world);
        await discards(world);
        await clonesAndSnapshots(world);
        await formats(world);
        await oddNames(world);
        await namespaces(world);
        await contention(world);
        await slowReader(world);
        const names = (await cluster.call('vdi.list', {})).map(({ name }) => name);
        assert.equal(
          names.filter((name) => name.includes('unfinished')),
          [],
        );
        await daemon.end();
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }),
);

test.run();
