/** Reads and writes mixed 70 to 30, as a busy guest has them, with fio's engine for each target. */
import { execa } from 'execa';
import { hasTool } from '../../helpers/requires.js';
import { fioEngineWords, readAll, runClient } from '../clients.js';
import { RAMP_SECONDS } from '../peers/warm-sample.js';
import type { Endpoint, Target } from '../targets.js';
import { type Taken, take } from './taken.js';
import type { Place, Work, WorkCell, WorkFigure } from './work.js';

const NAME = '4 KiB, 70 % reads and 30 % writes, depth 32';
const READ_PERCENT = 70;
const WRITES_PER_FLUSH = 32;

export interface Mixed {
  readonly operations: number;
  readonly operationsPerSecond: number;
  readonly readP99Us: number;
  readonly writeP99Us: number;
}

interface FioSide {
  total_ios: number;
  /** Milliseconds. */
  runtime: number;
  clat_ns: { percentile?: Record<string, number> };
}

export function mixedWork(): Work {
  return {
    figures: mixedFigures(NAME),
    note:
      `Mixed: fio (nbd, rbd, libaio through the page cache), random all over the volume, a flush after each ` +
      `${WRITES_PER_FLUSH} writes, after a second that does not count; CPU with the start of fio.`,
    missing: ({ fioMissing }) => fioMissing ?? (hasTool('fio') ? undefined : 'needs fio'),
    async measure(target: Target, { sizeBytes, seconds }: Place) {
      await execa('sync');
      await readAll(target, sizeBytes);
      await runMixed(target, RAMP_SECONDS);
      let mixed: Mixed | undefined;
      const taken = await take(target.pids, async () => {
        mixed = await runMixed(target, seconds);
      });
      return mixedCells(mixed!, taken);
    },
  };
}

/** Rate, and what 99 of 100 reads and of 100 writes do not exceed. */
export function mixedCells(mixed: Mixed, { cpuMs, stolenShare }: Taken): WorkCell[] {
  const { operations, operationsPerSecond, readP99Us, writeP99Us } = mixed;
  return [
    { value: operationsPerSecond, cpu: (cpuMs * 1000) / operations, stolenShare },
    { value: readP99Us, stolenShare },
    { value: writeP99Us, stolenShare },
  ];
}

/** Of that name, and of two latencies below it. */
export function mixedFigures(name: string): WorkFigure[] {
  return [
    { name, unit: '1/s', better: 'more', cpuUnit: 'us per operation' },
    { name: `${name}: 99 of 100 reads are faster`, unit: 'us', better: 'less' },
    { name: `${name}: 99 of 100 writes are faster`, unit: 'us', better: 'less' },
  ];
}

async function runMixed(at: Endpoint, seconds: number): Promise<Mixed> {
  return mixedResult(await runClient('fio', mixedWords(at, seconds), at.fio?.env));
}

/** fio's engines for nbd and rbd know a flush, and no fdatasync; for a file it is fsync. */
export function mixedWords(at: Endpoint, seconds: number): string[] {
  const words = ['--name=mixed', '--rw=randrw', `--rwmixread=${READ_PERCENT}`, '--bs=4096', '--iodepth=32'];
  words.push(`--fsync=${WRITES_PER_FLUSH}`, '--time_based', `--runtime=${Math.round(seconds * 1000)}ms`);
  words.push('--randrepeat=0', '--norandommap', '--output-format=json');
  return [...words, ...fioEngineWords(at)];
}

/** Out of fio's JSON. Throws when there were no reads, no writes or no flushes: then it was something else. */
export function mixedResult(output: string): Mixed {
  const { jobs } = JSON.parse(output.slice(output.indexOf('{\n'))) as { jobs: Record<string, FioSide>[] };
  const { read, write, sync } = jobs[0]!;
  for (const [name, side] of Object.entries({ read, write, sync }))
    if (side === undefined || side.total_ios === 0) throw new Error(`fio did no ${name}`);
  const operations = read!.total_ios + write!.total_ios;
  const p99Us = (side: FioSide) => (side.clat_ns.percentile?.['99.000000'] ?? Number.NaN) / 1000;
  return {
    operations,
    operationsPerSecond: (operations * 1000) / Math.max(read!.runtime, write!.runtime),
    readP99Us: p99Us(read!),
    writeP99Us: p99Us(write!),
  };
}
