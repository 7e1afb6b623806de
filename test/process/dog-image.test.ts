// deadline: 120 s
/** Images in a real cluster: they read back as they were, nobody can change them, and nothing is ever half there. */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ControlClient } from '../../src/control/client.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { objectDiskBytes, RealCluster, within } from '../helpers/real-cluster.js';
import { type DogResult, dog } from '../helpers/run-dog.js';

const MIB = 1024 * 1024;
const DEADLINE_MS = 60_000;

let cluster: RealCluster;
test.before(async () => {
  cluster = await RealCluster.start();
});
test.after(() => cluster.stop());

function run(line: string, stdin?: Buffer, index = 0): Promise<DogResult> {
  const words = [...line.split(' '), '-p', String(cluster.sheep[index]!.port)];
  return dog(words, { ...(stdin && { stdin }), deadlineMs: DEADLINE_MS });
}

/** Content that differs everywhere, with a hole in the middle. */
function sample(bytes: number): Buffer {
  const data = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) data.writeUInt32LE((at * 2654435761) >>> 0, at);
  data.fill(0, Math.floor(bytes / 3), Math.floor(bytes / 2));
  return data;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Superblocks and logs stay. */
function isFree(index: number): boolean {
  return objectDiskBytes(cluster.sheep[index]!.dir) < MIB;
}

async function succeeds(result: Promise<DogResult>): Promise<DogResult> {
  const done = await result;
  assert.is(done.stderr, '');
  assert.is(done.exit, 0);
  return done;
}

test('an image of any length reads back exactly, by every sheep and by NBD', async () => {
  const bytes = sample(9 * MIB + 777);
  const file = join(cluster.folder, 'cd.iso');
  writeFileSync(file, bytes);
  const digest = sha256(bytes);
  await succeeds(run(`image add ${file} cd --checksum sha256:${digest}`));
  await succeeds(run('image info cd --verify', undefined, 1));
  const read = await succeeds(run('vdi read cd', undefined, 2));
  assert.ok(read.stdoutBytes.equals(bytes), 'exactly the bytes of the file');
  const client = await NbdClient.open(cluster.sheep[1]!.nbd, 'cd');
  assert.is(client.sizeBytes, Math.ceil(bytes.length / 512) * 512);
  assert.ok((await client.read(8 * MIB, MIB)).equals(bytes.subarray(8 * MIB, 9 * MIB)));
  client.close();
  await succeeds(run('image remove cd'));
});

test('nobody can change an image', async () => {
  const bytes = sample(5 * MIB);
  await succeeds(run('image add - cd', bytes));
  const client = await NbdClient.open(cluster.sheep[1]!.nbd, 'cd');
  await client.write(0, Buffer.from('changed')).then(
    () => assert.unreachable('a write went through'),
    () => {},
  );
  client.close();
  for (const line of ['vdi write cd', 'vdi resize cd 1G', 'vdi snapshot cd -s s1']) {
    const result = await run(line, Buffer.from('changed'));
    assert.is(result.exit, 1, line);
    assert.match(result.stderr, /read.?only|cannot be changed/i, line);
  }
  await succeeds(run('image info cd --verify'));
  await succeeds(run('vdi rename cd dvd'));
  await succeeds(run('image info dvd --verify'));
  await succeeds(run('vdi clone dvd disk'));
  await succeeds(run('vdi write disk', Buffer.from('changed')));
  await succeeds(run('image remove dvd'));
  const disk = await succeeds(run('vdi read disk'));
  assert.ok(disk.stdoutBytes.subarray(7).equals(bytes.subarray(7)), 'a clone outlives its image');
  await succeeds(run('vdi delete disk'));
});

test('a removed image leaves nothing, and its name is free', async () => {
  await succeeds(run('image add - cd', sample(9 * MIB)));
  assert.is((await run('image add - cd', sample(MIB))).exit, 3);
  assert.is((await run('vdi create cd 1G')).exit, 1);
  await succeeds(run('image remove cd', undefined, 2));
  assert.is((await run('image info cd')).exit, 5);
  await within(10_000, 'the room is free again', () => isFree(0));
  await succeeds(run('image add - cd', sample(MIB)));
  await succeeds(run('image remove cd'));
});

test('with a wrong checksum nothing is kept', async () => {
  const wrong = await run(`image add - cd --checksum sha256:${'0'.repeat(64)}`, sample(6 * MIB));
  assert.is(wrong.exit, 1);
  assert.equal(await cluster.call('vdi.list', {}), []);
  await within(10_000, 'the room is free again', () => isFree(0));
});

test('what a client leaves unfinished is given up with its connection', async () => {
  const client = await ControlClient.connect({ host: '127.0.0.1', port: cluster.sheep[1]!.port });
  const { id } = (await client.call('image.begin', { name: 'cd' })).result;
  await client.call('stage.write', { id, offset: 0 }, { blob: sample(4 * MIB) });
  assert.not.ok(isFree(0));
  client.close();
  await within(10_000, 'the room is free again', () => isFree(0));
  assert.equal(await cluster.call('vdi.list', {}), []);
});

test('what a killed sheep was storing is never seen, and the others free its room', async () => {
  const input = new PassThrough();
  const port = String(cluster.sheep[0]!.port);
  const adding = dog(['image', 'add', '-', 'cd', '-p', port], { stdin: input, deadlineMs: DEADLINE_MS });
  input.write(sample(9 * MIB));
  await within(10_000, 'something is stored', () => objectDiskBytes(cluster.sheep[1]!.dir) > 4 * MIB);
  const client = await ControlClient.connect({ host: '127.0.0.1', port: cluster.sheep[1]!.port });
  assert.equal((await client.call('vdi.list', {})).result, []);
  client.close();
  await cluster.sheep[0]!.kill();
  input.end();
  assert.is((await adding).exit, 2);
  await within(30_000, 'the room is free again', () => isFree(1));
  await succeeds(run('image add - cd', sample(MIB), 1));
});

test.run();
