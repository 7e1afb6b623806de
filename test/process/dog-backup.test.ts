/** Backup and restore between real clusters: what comes back is what was there, and nothing else is lost (D6). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NbdClient } from '../helpers/nbd-client.js';
import { type RealCluster, withCluster } from '../helpers/real-cluster.js';
import { type DogResult, dog } from '../helpers/run-dog.js';

const MIB = 1024 * 1024;
const DEADLINE_MS = 60_000;

async function run(cluster: RealCluster, line: string, stdin?: Buffer, index = 0): Promise<DogResult> {
  const words = [...line.split(' '), '-p', String(cluster.sheep[index]!.port)];
  return dog(words, { ...(stdin && { stdin }), deadlineMs: DEADLINE_MS });
}

async function ok(cluster: RealCluster, line: string, stdin?: Buffer, index = 0): Promise<Buffer> {
  const result = await run(cluster, line, stdin, index);
  assert.is(result.stderr, '', line);
  assert.is(result.exit, 0, line);
  return result.stdoutBytes;
}

function random(bytes: number, seed: number): Buffer {
  const data = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 4) data.writeUInt32LE(((at + 1) * (2654435761 + 2 * seed)) >>> 0, at);
  return data;
}

test('a backup restores the snapshot it was made of, and leaves the volume alone', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    await ok(cluster, 'vdi create bk 30M');
    await ok(cluster, 'vdi write bk', random(8 * MIB, 1));
    await ok(cluster, 'vdi snapshot bk -s b1');
    await ok(cluster, 'vdi write bk 4194304', Buffer.from('changed\n'), 1);
    await ok(cluster, 'vdi write bk 25M', random(3 * MIB, 2));
    await ok(cluster, 'vdi snapshot bk -s b2');
    const stream = await ok(cluster, 'vdi backup bk -F b1 -s b2', undefined, 2);
    const wanted = await ok(cluster, 'vdi read bk -s b2');
    await ok(cluster, 'vdi write bk 12M', Buffer.from('not in any snapshot'));
    await ok(cluster, 'vdi delete bk -s b2');
    await ok(cluster, 'vdi restore bk -s b1', stream, 1);
    assert.ok((await ok(cluster, 'vdi read bk -s 3', undefined, 2)).equals(wanted));
    const kept = await ok(cluster, 'vdi read bk 12M 19');
    assert.is(kept.toString(), 'not in any snapshot', 'what no snapshot has is still there');
    await ok(cluster, 'vdi snapshot bk -s after');
    const list = (await ok(cluster, 'vdi list bk -r')).toString();
    assert.match(list, /^s bk 3 /m);
    assert.match(list, /^s bk 4 .* after 22$/m);
    await ok(cluster, 'vdi rollback bk -f -s 3');
    assert.ok((await ok(cluster, 'vdi read bk')).equals(wanted));
  }));

test('one changed sector makes the stream that the original makes', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    await ok(cluster, 'vdi create bk 32M');
    await ok(cluster, 'vdi write bk', random(8 * MIB, 1));
    await ok(cluster, 'vdi snapshot bk -s b1');
    await ok(cluster, 'vdi write bk 4194304 8', Buffer.from('changed\n'));
    await ok(cluster, 'vdi snapshot bk -s b2');
    assert.is((await ok(cluster, 'vdi backup bk -F b1 -s b2')).length, 552);
    const same = await ok(cluster, 'vdi backup bk -F b2 -s b2');
    assert.is(same.toString('hex'), `0100000092119211ffffffff${'0'.repeat(24)}`);
  }));

test('what was discarded since is discarded again, and what grew grows', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    await ok(cluster, 'vdi create bk 8M');
    await ok(cluster, 'vdi write bk', random(8 * MIB, 1));
    await ok(cluster, 'vdi snapshot bk -s b1');
    await ok(cluster, 'vdi resize bk 18M');
    const client = await NbdClient.open(cluster.sheep[1]!.nbd, 'bk');
    await client.trim(0, 4 * MIB);
    client.close();
    await ok(cluster, 'vdi write bk 17M', random(MIB, 3));
    await ok(cluster, 'vdi snapshot bk -s b2');
    const stream = await ok(cluster, 'vdi backup bk -F b1 -s b2');
    await ok(cluster, 'vdi restore bk -s b1', stream);
    assert.ok((await ok(cluster, 'vdi read bk -s 3')).equals(await ok(cluster, 'vdi read bk -s b2')));
  }));

test('a stream that is cut or is no backup changes nothing', () =>
  withCluster({ deadlineMs: DEADLINE_MS }, async (cluster) => {
    await ok(cluster, 'vdi create bk 16M');
    await ok(cluster, 'vdi snapshot bk -s b1');
    await ok(cluster, 'vdi write bk', random(9 * MIB, 1));
    await ok(cluster, 'vdi snapshot bk -s b2');
    await ok(cluster, 'vdi write bk', Buffer.from('unsnapshotted'));
    const stream = await ok(cluster, 'vdi backup bk -F b1 -s b2');
    const before = await cluster.call('vdi.list', {});
    for (const bad of [Buffer.from('garbage\n'), stream.subarray(0, stream.length - 1), Buffer.alloc(0)]) {
      const result = await run(cluster, 'vdi restore bk -s b1', bad);
      assert.is(result.exit, 1);
      assert.is(result.stderr, 'The backup file is corrupted\n');
    }
    assert.equal(await cluster.call('vdi.list', {}), before);
    assert.is((await ok(cluster, 'vdi read bk 0 13')).toString(), 'unsnapshotted');
  }));

test.run();
