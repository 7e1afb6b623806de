/** A sheep that profiles itself between two SIGUSR2, into the file that SHEEPFOLD_PROFILE names (its pid follows). */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';

const SAMPLING_US = 200;
const session = new Session();
session.connect();
await session.post('Profiler.enable');
await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_US });

let running = false;
process.on('SIGUSR2', async () => {
  if (!running) {
    running = true;
    await session.post('Profiler.start');
    return;
  }
  running = false;
  const { profile } = await session.post('Profiler.stop');
  writeFileSync(`${process.env.SHEEPFOLD_PROFILE}.${process.pid}`, JSON.stringify(profile));
});

await import('../../src/daemon/main.js');
