/**
 * Where the time of the sheep goes: node profile.js [part of a row's name] [seconds]. Prints, for each row and each
 * sheep, the functions with the most time of their own. The first sheep is the client's gateway.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Launcher } from '../helpers/launcher.js';
import { within } from '../helpers/real-cluster.js';
import { prefill } from './clients.js';
import { profileCosts } from './profile-top.js';
import { calibrate, sample } from './samples.js';
import { startSheepfold, type Target } from './targets.js';
import { workloads } from './workloads.js';

const SIZE_BYTES = 128 * 1024 * 1024;
const LINES = 22;
const [text = '4 KiB write, depth 32', seconds = '3'] = process.argv.slice(2);

const folder = mkdtempSync(join(tmpdir(), 'sheepfold-profile-'));
process.env.SHEEPFOLD_PROFILE = join(folder, 'profile');
const main = fileURLToPath(new URL('./profiled-sheep.js', import.meta.url));
const target = await startSheepfold(SIZE_BYTES, (options) => Launcher.start({ ...options, main }));
try {
  await prefill(target, SIZE_BYTES);
  for (const workload of workloads) {
    if (!workload.name.includes(text)) continue;
    const operations = await calibrate(target, workload, Number(seconds));
    toggle(target);
    const result = await sample(target, workload, operations, Number(seconds));
    toggle(target);
    const rate = Math.round(result.operationsPerSecond);
    const cpu = result.daemonCpuMsPerThousand.toFixed(0);
    process.stdout.write(`\n## ${workload.name}: ${rate} operations/s, ${cpu} us CPU each\n`);
    for (const [index, pid] of target.pids.entries()) {
      const path = `${process.env.SHEEPFOLD_PROFILE}.${pid}`;
      const costs = await within(20_000, 'a profile', () => profileCosts(path));
      process.stdout.write(`\nsheep ${index}: microseconds per operation, own and with callees\n`);
      for (const { where, selfUs, totalUs } of costs.slice(0, LINES)) {
        const each = (us: number) => (us / result.operations).toFixed(1).padStart(8);
        process.stdout.write(`${each(selfUs)} ${each(totalUs)}  ${where}\n`);
      }
      rmSync(path);
    }
  }
} finally {
  await target.stop();
  rmSync(folder, { recursive: true });
}

function toggle({ pids }: Target): void {
  for (const pid of pids) process.kill(pid, 'SIGUSR2');
}
