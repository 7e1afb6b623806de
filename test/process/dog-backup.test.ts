/** Backup and restore between real clusters: what comes back is what was there, and nothing else is lost (D6). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NbdClient } from '../helpers/nbd-client.js';
import { RealCluster } from '../helpers/real-cluster.js';
import { type DogResult, dog } from '../helpers/run-dog.js';

const MIB = 1024 * 1024;
const DEADLINE_MS = 60_000;

let cluster: RealCluster;
test.before(async () => {
  cluster = await RealCluster.start();
});
test.after(() => cluster.stop());

async function run(line: string, stdin?: Buffer, index = 0): Promise<DogResult> {
  const words = [...line.split(' '), '-p', String(cluster.sheep[index]!.port)];
  return dog(words, { ...(stdin && { stdin }), deadlineMs: DEADLINE_MS });
}

async function ok(line: string, stdin?: Buffer, index = 0): Promise<Buffer> {
  const result = await run(line, stdin, index);
  assert.is(result.stderr, '', line);
  assert.is(result.exit, 0, line);
  return result.stdoutBytes;
}

function random(bytes: number, seed: number): Buffer {
  const data = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 4) data.writeUInt32LE(((at + 1) * (2654435761 + 2 * seed)) >>> 0, at);
  return data;
}

test('a backup restores the snapshot it was made of, and leaves the volume alone', async () => {
  await ok('vdi create bk1 30M');
  await ok('vdi write bk1', random(8 * MIB, 1));
  await ok('vdi snapshot bk1 -s b1');
  await ok('vdi write bk1 4194304', Buffer.from('changed\n'), 1);
  await ok('vdi write bk1 25M', random(3 * MIB, 2));
  await ok('vdi snapshot bk1 -s b2');
  const stream = await ok('vdi backup bk1 -F b1 -s b2', undefined, 2);
  const wanted = await ok('vdi read bk1 -s b2');
  await ok('vdi write bk1 12M', Buffer.from('not in any snapshot'));
  await ok('vdi delete bk1 -s b2');
  await ok('vdi restore bk1 -s b1', stream, 1);
  assert.ok((await ok('vdi read bk1 -s 3', undefined, 2)).equals(wanted));
  const kept = await ok('vdi read bk1 12M 19');
  assert.is(kept.toString(), 'not in any snapshot', 'what no snapshot has is still there');
  await ok('vdi snapshot bk1 -s after');
  const list = (await ok('vdi list bk1 -r')).toString();
  assert.match(list, /^s bk1 3 /m);
  assert.match(list, /^s bk1 4 .* after 22$/m);
  await ok('vdi rollback bk1 -f -s 3');
  assert.ok((await ok('vdi read bk1')).equals(wanted));
});

test('one changed sector makes the stream that the original makes', async () => {
  await ok('vdi create bk2 32M');
  await ok('vdi write bk2', random(8 * MIB, 1));
  await ok('vdi snapshot bk2 -s b1');
  await ok('vdi write bk2 4194304 8', Buffer.from('changed\n'));
  await ok('vdi snapshot bk2 -s b2');
  assert.is((await ok('vdi backup bk2 -F b1 -s b2')).length, 552);
  const same = await ok('vdi backup bk2 -F b2 -s b2');
  assert.is(same.toString('hex'), `0100000092119211ffffffff${'0'.repeat(24)}`);
});

test('what was discarded since is discarded again, and what grew grows', async () => {
  await ok('vdi create bk3 8M');
  await ok('vdi write bk3', random(8 * MIB, 1));
  await ok('vdi snapshot bk3 -s b1');
  await ok('vdi resize bk3 18M');
  const client = await NbdClient.open(cluster.sheep[1]!.nbd, 'bk3');
  await client.trim(0, 4 * MIB);
  client.close();
  await ok('vdi write bk3 17M', random(MIB, 3));
  await ok('vdi snapshot bk3 -s b2');
  const stream = await ok('vdi backup bk3 -F b1 -s b2');
  await ok('vdi restore bk3 -s b1', stream);
  assert.ok((await ok('vdi read bk3 -s 3')).equals(await ok('vdi read bk3 -s b2')));
});

test('a stream that is cut or is no backup changes nothing', async () => {
  await ok('vdi create bk4 16M');
  await ok('vdi snapshot bk4 -s b1');
  await ok('vdi write bk4', random(9 * MIB, 1));
  await ok('vdi snapshot bk4 -s b2');
  await ok('vdi write bk4', Buffer.from('unsnapshotted'));
  const stream = await ok('vdi backup bk4 -F b1 -s b2');
  const before = await cluster.call('vdi.list', {});
  for (const bad of [Buffer.from('garbage\n'), stream.subarray(0, stream.length - 1), Buffer.alloc(0)]) {
    const result = await run('vdi restore bk4 -s b1', bad);
    assert.is(result.exit, 1);
    assert.is(result.stderr, 'The backup file is corrupted\n');
  }
  assert.equal(await cluster.call('vdi.list', {}), before);
  assert.is((await ok('vdi read bk4 0 13')).toString(), 'unsnapshotted');
});

test.run();
