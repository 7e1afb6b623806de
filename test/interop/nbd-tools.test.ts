// run: quick
/** Real NBD clients against the door, with memory behind it: libnbd's tools, QEMU's tools, fio. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as netConnect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { SeededRandom } from '../../src/base/random.js';
import { listenNbd } from '../../src/nbd/listen.js';
import { intercept } from '../helpers/memory-device.js';
import { requires } from '../helpers/requires.js';
import { type InteropServer, mustRun, startServer, tool } from './nbd-setup.js';

const MIB = 1024 * 1024;
const SIZE = 8 * MIB;

const withInfo = requires(test, 'nbdinfo');
const withCopy = requires(test, 'nbdcopy');
const withQemuImg = requires(test, 'qemu-img');
const withQemuIo = requires(test, 'qemu-io');
const withFio = requires(test, 'fio');

let door: InteropServer;
test.before.each(async () => {
  door = await startServer();
  door.provider.add('disk', SIZE);
  door.provider.add('disk@monday', SIZE, true);
});
test.after.each(() => door.close());

withInfo('nbdinfo lists every export', async () => {
  const output = await mustRun('nbdinfo', '--list', '--json', door.uri(''));
  const { exports } = JSON.parse(output) as { exports: { 'export-name': string; 'export-size': number }[] };
  assert.equal(
    exports.map((entry) => [entry['export-name'], entry['export-size']]),
    [
      ['disk', SIZE],
      ['disk@monday', SIZE],
    ],
  );
});

withInfo('nbdinfo sees every capability and the block sizes', async () => {
  const output = await mustRun('nbdinfo', '--json', door.uri('disk'));
  const info = (JSON.parse(output) as { exports: Record<string, unknown>[] }).exports[0]!;
  for (const can of ['cache', 'df', 'fast_zero', 'flush', 'fua', 'multi_conn', 'trim', 'zero']) {
    assert.is(info[`can_${can}`], true, can);
  }
  assert.is(info.is_read_only, false);
  assert.equal(
    [info.block_size_minimum, info.block_size_preferred, info.block_size_maximum],
    [1, 4096, 32 * MIB],
  );
  assert.equal(info.contexts, ['base:allocation']);
});

withInfo('nbdinfo answers single questions about a snapshot', async () => {
  const uri = door.uri('disk@monday');
  assert.is((await tool('nbdinfo', '--is', 'read-only', uri)).code, 0);
  assert.is((await tool('nbdinfo', '--can', 'multi-conn', uri)).code, 0);
  assert.is((await tool('nbdinfo', '--can', 'structured', uri)).code, 0);
  assert.is((await tool('nbdinfo', '--can', 'trim', uri)).code, 2);
  assert.is((await mustRun('nbdinfo', '--size', uri)).trim(), String(SIZE));
});

withInfo('nbdinfo maps data, holes and zeros', async () => {
  const volume = door.provider.volumes.get('disk')!;
  volume.write(MIB, Buffer.alloc(MIB, 1));
  volume.write(3 * MIB, Buffer.alloc(MIB));
  const output = await mustRun('nbdinfo', '--map', '--json', door.uri('disk'));
  const map = JSON.parse(output) as { offset: number; length: number; type: number }[];
  assert.equal(
    map.map(({ offset, length, type }) => [offset / MIB, length / MIB, type]),
    [
      [0, 1, 3],
      [1, 1, 0],
      [2, 1, 3],
      [3, 1, 2],
      [4, 4, 3],
    ],
  );
});

withInfo('nbdinfo gets a clear refusal for an unknown export', async () => {
  const { code, output } = await tool('nbdinfo', door.uri('nothing'));
  assert.is(code, 1);
  assert.match(output, 'No such file or directory for export: nothing', output);
});

withCopy('nbdcopy moves bytes both ways unchanged over several connections', async () => {
  const source = join(door.folder, 'source');
  const back = join(door.folder, 'back');
  const image = Buffer.alloc(SIZE);
  image.set(randomBytes(3 * MIB + 12_345), MIB + 77);
  writeFileSync(source, image);
  await mustRun('nbdcopy', '--connections=4', '--flush', source, door.uri('disk'));
  assert.ok(door.provider.volumes.get('disk')!.blocks.size < SIZE / 4096, 'holes arrived as holes');
  await mustRun('nbdcopy', '--connections=4', door.uri('disk'), back);
  assert.is(Buffer.compare(readFileSync(back), image), 0);
  await mustRun('nbdcopy', '--synchronous', door.uri('disk'), back);
  assert.is(Buffer.compare(readFileSync(back), image), 0);
});

withQemuImg('qemu-img reads info and map', async () => {
  door.provider.volumes.get('disk')!.write(MIB, Buffer.alloc(MIB, 1));
  const info = JSON.parse(
    await mustRun('qemu-img', 'info', '--output=json', '-f', 'raw', door.uri('disk')),
  ) as {
    'virtual-size': number;
  };
  assert.is(info['virtual-size'], SIZE);
  const map = JSON.parse(
    await mustRun('qemu-img', 'map', '--output=json', '-f', 'raw', door.uri('disk')),
  ) as {
    start: number;
    data: boolean;
  }[];
  assert.equal(
    map.map(({ start, data }) => [start / MIB, data]),
    [
      [0, false],
      [1, true],
      [2, false],
    ],
  );
});

withQemuImg('qemu-img converts both ways and compares equal', async () => {
  const source = join(door.folder, 'source');
  const back = join(door.folder, 'back');
  const image = Buffer.alloc(SIZE);
  image.set(randomBytes(2 * MIB + 999), MIB);
  writeFileSync(source, image);
  const uri = door.uri('disk');
  await mustRun('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', '-W', '-m', '8', source, uri);
  await mustRun('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri, back);
  assert.is(Buffer.compare(readFileSync(back), image), 0);
  assert.match(await mustRun('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', source, uri), 'identical');
});

withQemuImg('qemu-img bench runs reads, writes and flushes', async () => {
  const common = ['bench', '-f', 'raw', '-c', '2000', '-d', '32', '-s', '4096'];
  await mustRun('qemu-img', ...common, door.uri('disk'));
  await mustRun('qemu-img', ...common, '-w', '--flush-interval=100', door.uri('disk'));
  assert.ok(door.provider.volumes.get('disk')!.counters.flushes >= 19);
});

withQemuIo('qemu-io writes and reads at odd offsets, zeroes, discards and flushes', async () => {
  const script = [
    'write -P 0xaa 0 64k',
    'write -P 0xbb 1000 3001',
    'read -P 0xaa 0 1000',
    'read -P 0xbb 1000 3001',
    'read -P 0xaa 4001 100',
    'write -f -P 0xcc 60k 8k',
    'write -z 16k 4k',
    'write -z -u 20k 4k',
    'discard 32k 16k',
    'read -P 0 16k 8k',
    'read -P 0 32k 16k',
    'read -P 0xcc 60k 8k',
    'flush',
    'read -P 0xaa 511 1',
  ];
  const output = await mustRun(
    'qemu-io',
    '-f',
    'raw',
    ...script.flatMap((line) => ['-c', line]),
    door.uri('disk'),
  );
  assert.not.match(output, 'verification failed');
  const { counters, blocks } = door.provider.volumes.get('disk')!;
  assert.ok(counters.fuaWrites >= 1, 'FUA arrived as FUA');
  assert.ok(counters.flushes >= 1 && counters.discards >= 1 && counters.zeroes >= 2);
  assert.ok(blocks.has(4) && !blocks.has(5), 'zeroes keep or free as told');
});

withQemuIo('qemu-io is refused by a read-only export', async () => {
  const { output } = await tool('qemu-io', '-f', 'raw', '-c', 'write 0 4k', door.uri('disk@monday'));
  assert.match(output, 'Permission denied', output);
  await mustRun('qemu-io', '-r', '-f', 'raw', '-c', 'read -P 0 0 4k', door.uri('disk@monday'));
  assert.is(door.provider.volumes.get('disk@monday')!.counters.writes, 0);
});

function fio(uri: string, ...extra: string[]): Promise<string> {
  const job = ['--name=verify', '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--verify=crc32c'];
  const sizes = ['--bsrange=512-64k', '--bs_unaligned=1', '--iodepth=16', '--verify_fatal=1', '--randseed=7'];
  return mustRun('fio', ...job, ...sizes, `--aux-path=${door.folder}`, ...extra);
}

withFio('fio verifies random writes through its nbd engine', async () => {
  assert.match(await fio(door.uri('disk'), `--size=${SIZE}`), /err= 0/);
});

withFio('fio verifies four jobs on a device that finishes out of order', async () => {
  await door.close();
  const random = new SeededRandom(5);
  // Data is taken only after the delay: a payload that were overwritten meanwhile would not verify.
  door = await startServer({}, (device) => intercept(device, () => sleep(systemClock, random.below(4))));
  door.provider.add('disk', SIZE);
  const quarter = SIZE / 4;
  const jobs = ['--numjobs=4', `--size=${quarter}`, `--offset_increment=${quarter}`];
  assert.match(await fio(door.uri('disk'), ...jobs), /err= 0/);
});

withQemuIo('qemu-io moves the longest request there is', async () => {
  door.provider.add('large', 64 * MIB);
  const lines = [
    'write -P 7 1M 32M',
    'read -P 7 1M 32M',
    'read -P 0 0 1M',
    'write -z 0 64M',
    'read -P 0 16M 32M',
  ];
  const args = lines.flatMap((line) => ['-c', line]);
  assert.not.match(await mustRun('qemu-io', '-f', 'raw', ...args, door.uri('large')), 'failed');
});

withInfo('three hundred open connections and a flood of idle ones leave room for a client', async () => {
  const sockets: Socket[] = [];
  for (let i = 0; i < 900; i++) {
    const socket = netConnect(door.port, '127.0.0.1');
    socket.on('error', () => {});
    sockets.push(socket);
  }
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  assert.is((await mustRun('nbdinfo', '--size', `nbd://127.0.0.1:${door.port}/disk`)).trim(), String(SIZE));
  const { connections, evicted } = door.server.stats();
  assert.ok(connections >= 300 && connections <= 512, `${connections} open`);
  assert.ok(evicted >= 388, `${evicted} evicted`);
  for (const socket of sockets) socket.destroy();
});

withInfo('a stale socket file is replaced, a living door and other files are not', async () => {
  const path = join(door.folder, 'nbd.sock');
  let refusal = '';
  await listenNbd(door.server, { path }).catch((error: Error) => (refusal = error.message));
  assert.match(refusal, 'in use');
  const file = join(door.folder, 'file');
  writeFileSync(file, 'precious');
  await listenNbd(door.server, { path: file }).catch((error: Error) => (refusal = error.message));
  assert.match(refusal, 'not a socket');
  const stale = join(door.folder, 'stale.sock');
  const kill = `() => process.kill(process.pid, 'SIGKILL')`;
  const script = `require('net').createServer().listen(${JSON.stringify(stale)}, ${kill})`;
  await tool(process.execPath, '-e', script);
  const listener = await listenNbd(door.server, { path: stale });
  assert.is((await mustRun('nbdinfo', '--size', `nbd+unix:///disk?socket=${stale}`)).trim(), String(SIZE));
  await listener.close();
});

test.run();
