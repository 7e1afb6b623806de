/**
 * What the NBD door alone costs: qemu-img bench against a device in memory. Prints operations per second and
 * this process's CPU time per operation. Usage: node nbd-null.js [count].
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import { listenNbd } from '../../src/nbd/listen.js';
import { createNbdServer } from '../../src/nbd/server.js';
import { MemoryProvider } from '../helpers/memory-device.js';

const run = promisify(execFile);
const count = Number(process.argv[2] ?? 100_000);

async function bench(uri: string, label: string, args: string[]): Promise<void> {
  const cpuBefore = process.cpuUsage();
  const startMs = systemClock.nowMs();
  await run('qemu-img', ['bench', '-f', 'raw', '-c', String(count), '-s', '4096', ...args, uri]);
  const elapsedMs = systemClock.nowMs() - startMs;
  const cpu = process.cpuUsage(cpuBefore);
  const opsPerSecond = Math.round((count / elapsedMs) * 1000);
  const cpuUs = ((cpu.user + cpu.system) / count).toFixed(1);
  process.stdout.write(
    `${label.padEnd(16)} ${String(opsPerSecond).padStart(8)} ops/s ${cpuUs.padStart(7)} us CPU/op\n`,
  );
}

const folder = mkdtempSync(join(tmpdir(), 'nbd-null-'));
const provider = new MemoryProvider();
const volume = provider.add('disk', 256 * 1024 * 1024);
const server = createNbdServer({ provider, clock: systemClock, log: silentLogger });
const path = join(folder, 'socket');
const listener = await listenNbd(server, { path });
const uri = `nbd+unix:///disk?socket=${path}`;
try {
  volume.write(0, Buffer.alloc(256 * 1024 * 1024, 1));
  for (const depth of [1, 32]) {
    const options = ['-d', String(depth), '-S', '4096'];
    await bench(uri, `read depth ${depth}`, options);
    await bench(uri, `write depth ${depth}`, [...options, '-w']);
  }
} finally {
  await listener.close();
  await server.close();
  rmSync(folder, { recursive: true });
}
