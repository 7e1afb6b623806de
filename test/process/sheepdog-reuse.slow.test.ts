// deadline: 180 s
/**
 * Volumes deleted and made again at once, each time by another sheep: a vid is used again while others may still be
 * freeing what had it before. Nothing of the new volume may be lost, and the name is free for everybody at once.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { SeededRandom } from '../../src/base/random.js';
import { dataOid } from '../../src/wire/oid.js';
import { withCluster } from '../helpers/real-cluster.js';
import { ok, type SheepdogCalls } from '../helpers/sheepdog-calls.js';
import { pattern, SheepdogDoor } from '../helpers/sheepdog-door.js';

const MIB = 1024 * 1024;
const OBJECTS = 64;
const DURATION_MS = 75_000;

/** Makes a volume, lets some time pass, and insists that all of it is there. */
async function makeAndCheck(calls: SheepdogCalls, name: string, pauseMs: number): Promise<void> {
  const data = pattern(1, 4096);
  const { vid } = ok(await calls.newVdi({ name, sizeBytes: OBJECTS * MIB, blockSizeShift: 20 }));
  const oids = Array.from({ length: OBJECTS }, (_, index) => dataOid(vid, index));
  await Promise.all(oids.map(async (oid) => ok(await calls.createObj(oid, 0, data))));
  await sleep(systemClock, pauseMs);
  assert.is((await calls.readHeader(vid)).name, name);
  const owners = await calls.readIndex(vid, 0, OBJECTS);
  assert.ok(owners.every((owner) => owner === vid));
  const reads = await Promise.all(
    oids.map(async (oid) => ok(await calls.readObj(oid, 0, data.length)).payload),
  );
  assert.ok(reads.every((bytes) => bytes.equals(data)));
}

test('a volume made where another was deleted a moment ago keeps all of its data', () =>
  withCluster({ deadlineMs: 150_000 }, async (cluster) => {
    const door = new SheepdogDoor(cluster);
    const sheep = await Promise.all([0, 1, 2].map(async (i) => (await door.connect(i)).calls));
    const endMs = performance.now() + DURATION_MS;
    let round = 0;
    const work = async (name: string, random: SeededRandom) => {
      while (performance.now() < endMs) {
        const at = round++ % sheep.length;
        await makeAndCheck(sheep[at]!, name, random.below(300));
        ok(await sheep[(at + 1) % sheep.length]!.delVdi({ name }));
      }
    };
    await Promise.all(
      ['reuse-a', 'reuse-b', 'reuse-c'].map((name, i) => work(name, new SeededRandom(i + 1))),
    );
    process.stdout.write(`${round} volumes\n`);
    door.closeAll();
  }));

test.run();
