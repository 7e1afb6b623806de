/** The thread of foreground.ts: writes without end, and says how long the writes took when it is asked. */
import { parentPort, workerData } from 'node:worker_threads';
import { NbdClient } from '../../helpers/nbd-client.js';
import { medianOf } from './figures.js';
import type { Stall } from './foreground.js';

export interface ForegroundWork {
  readonly port: number;
  readonly name: string;
  readonly sizeBytes: number;
}

const BLOCK_BYTES = 4096;

const { port, name, sizeBytes } = workerData as ForegroundWork;
const client = await NbdClient.open({ host: '127.0.0.1', port }, name);
const block = Buffer.alloc(BLOCK_BYTES, 0x5a);
let tookMs: number[] = [];
let beganMs = performance.now();

parentPort!.on('message', () => {
  const longestMs = Math.max(
    performance.now() - beganMs,
    tookMs.reduce((a, b) => Math.max(a, b), 0),
  );
  const stall: Stall = { writes: tookMs.length, medianMs: medianOf(tookMs), longestMs };
  tookMs = [];
  parentPort!.postMessage(stall);
});

for (let offset = 0; ; offset = (offset + BLOCK_BYTES) % sizeBytes) {
  beganMs = performance.now();
  await client.write(offset, block);
  tookMs.push(performance.now() - beganMs);
}
