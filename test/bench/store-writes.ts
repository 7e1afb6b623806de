/**
 * Speed of one store on a real directory: node store-writes.js [directory] [seconds per case]. Prints operations per
 * second and CPU microseconds per operation (all threads of this process).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import { SeededRandom } from '../../src/base/random.js';
import { openFileDisk } from '../../src/store/file-disk.js';
import { openStore } from '../../src/store/open-store.js';
import type { Store } from '../../src/store/store.js';

const OBJECT = 4 << 20;
const OBJECTS = 64;
const random = new SeededRandom(1);

async function measure(name: string, seconds: number, depth: number, one: () => unknown): Promise<void> {
  const until = performance.now() + seconds * 1000;
  const cpu = process.cpuUsage();
  const start = performance.now();
  let count = 0;
  const lane = async () => {
    while (performance.now() < until) {
      await one();
      count++;
    }
  };
  await Promise.all(Array.from({ length: depth }, lane));
  const elapsed = (performance.now() - start) / 1000;
  const used = process.cpuUsage(cpu);
  const rate = Math.round(count / elapsed);
  const cost = ((used.user + used.system) / count).toFixed(1);
  process.stdout.write(
    `${name.padEnd(40)} ${String(rate).padStart(8)} op/s  ${cost.padStart(7)} CPU us/op\n`,
  );
}

async function run(store: Store, seconds: number): Promise<void> {
  const data = random.bytes(4096);
  const large = random.bytes(256 << 10);
  const anywhere = (length: number) => random.below(OBJECT / length) * length;
  const write = (bytes: Uint8Array, sync: boolean) => () =>
    store.write({
      oid: BigInt(1 + random.below(OBJECTS)),
      objectBytes: OBJECT,
      mode: 'ensure',
      epoch: 1,
      offset: anywhere(bytes.length),
      data: bytes,
      sync,
    });
  await measure('write 256 KiB, depth 4', seconds, 4, write(large, false));
  for (let index = 0; index < OBJECTS; index++) {
    for (let at = 0; at < OBJECT; at += 1 << 20) {
      await store.write({
        oid: BigInt(1 + index),
        objectBytes: OBJECT,
        mode: 'ensure',
        epoch: 1,
        offset: at,
        data: new Uint8Array(0),
        sync: false,
      });
    }
  }
  await measure('write 4 KiB, depth 32', seconds, 32, write(data, false));
  await measure('write 4 KiB, depth 1', seconds, 1, write(data, false));
  await measure('write 4 KiB synced, depth 32', seconds, 32, write(data, true));
  await measure('write 4 KiB synced, depth 1', seconds, 1, write(data, true));
  const read = (length: number) => () =>
    store.read(BigInt(1 + random.below(OBJECTS)), anywhere(length), length);
  await measure('read 4 KiB, depth 32', seconds, 32, read(4096));
  await measure('read 256 KiB, depth 4', seconds, 4, read(256 << 10));
}

const folder = process.argv[2] ?? mkdtempSync(join(tmpdir(), 'sheepfold-bench-'));
const store = await openStore({
  disk: openFileDisk(folder),
  clock: systemClock,
  log: silentLogger,
  identity: { clusterId: 'bench', nodeId: 'bench' },
  bootId: 'bench',
});
await run(store, Number(process.argv[3] ?? 1));
await store.close();
if (!process.argv[2]) rmSync(folder, { recursive: true });
