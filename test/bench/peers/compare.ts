/** Measures a comparison: in each round every row at every target, the targets in turn. */
import { qemuImgBench } from '../clients.js';
import { describeDisk } from '../disk.js';
import {
  childrenCpuMs,
  cpuMs,
  describeMachine,
  type Machine,
  type Memory,
  machineTicks,
  memoryOf,
  stolenShare,
} from '../measure.js';
import type { PeerSettings, Settings } from '../options.js';
import { say } from '../progress.js';
import { calibrate, type Sample } from '../samples.js';
import type { Target, TargetName } from '../targets.js';
import { measureWork } from '../work/measure.js';
import type { WorkTable } from '../work/table.js';
import type { Workload } from '../workloads.js';
import { Field, type PerTarget } from './field.js';
import { WRITES_AFTER, writesAfterSnapshot } from './rows.js';
import { startAll } from './start.js';
import { versionsOf } from './versions.js';
import { RAMP_SECONDS, warmSample } from './warm-sample.js';

export interface ComparedSample extends Sample {
  /** Of a client that comes, does one request and goes, and of the daemons meanwhile. */
  readonly startCpuMs: number;
}

export interface ComparedRow {
  readonly workload: Workload;
  readonly rounds: PerTarget<ComparedSample>[];
}

export interface SnapshotSample {
  /** By the system's command, with the start of the command. */
  readonly snapshotMs: number;
  /** A command of the same program that only asks for the volume. */
  readonly lookMs?: number;
  /** Of the writes after it. */
  readonly writesMs: number;
  readonly stolenShare: number;
}

export interface DaemonMemory extends Memory {
  readonly role: string;
}

export interface Comparison {
  readonly startedAt: string;
  readonly machine: Machine;
  readonly disk: string;
  readonly options: { readonly sizeBytes: number; readonly runs: number; readonly secondsPerRun: number };
  readonly stolenShareMax: number;
  readonly rows: readonly ComparedRow[];
  readonly snapshots: readonly PerTarget<SnapshotSample>[];
  readonly memory: PerTarget<DaemonMemory[]>;
  /** What `--work` adds; empty without. */
  readonly work: readonly WorkTable[];
}

/** `targets` gets all that runs, for the caller to stop, whatever comes of this. */
export async function compare(
  settings: Settings,
  peers: PeerSettings,
  targets: Target[],
): Promise<Comparison> {
  const { sizeBytes, runs, seconds } = settings;
  const startedAt = new Date().toISOString();
  await startAll(peers, sizeBytes, targets);
  const machine = describeMachine(await versionsOf(targets, peers));
  const rows = settings.rows.map((workload) => ({ workload, rounds: [] as PerTarget<ComparedSample>[] }));
  const field = new Field<TargetName, Target>(targets, ['sheepfold']);
  await measureRows(settings, field, rows);
  const memory: PerTarget<DaemonMemory[]> = {};
  for (const target of targets) memory[target.name] = daemonMemory(target);
  // Before the snapshots: what shares its data is discarded otherwise.
  const work = peers.work === undefined ? [] : await measureWork(peers.work, settings, targets);
  const snapshots = peers.snapshots ? await measureSnapshots(runs, sizeBytes, field) : [];
  const options = { sizeBytes, runs, secondsPerRun: seconds };
  const { stolenShareMax } = peers;
  return { startedAt, machine, disk: describeDisk(), options, stolenShareMax, rows, snapshots, memory, work };
}

async function measureRows(
  settings: Settings,
  field: Field<TargetName, Target>,
  rows: readonly ComparedRow[],
): Promise<void> {
  const operations = new Map<string, number>();
  const skipped = new Set<string>();
  if (rows.length === 0) return;
  for (let run = 0; run < settings.runs; run++) {
    say(`round ${run + 1} of ${settings.runs}`);
    const starts = await field.round(run, startCpuMs);
    for (const { workload, rounds } of rows) {
      const round = await field.round(run, async (target) => {
        const cell = `${workload.name} at ${target.name}`;
        if (workload.client === 'fio' && target.fioMissing !== undefined) {
          if (!skipped.has(cell)) say(`left out: ${cell} (${target.fioMissing})`);
          skipped.add(cell);
          return undefined;
        }
        if (!operations.has(cell)) operations.set(cell, await calibrate(target, workload, RAMP_SECONDS));
        const result = await warmSample(target, workload, operations.get(cell)!, settings);
        return { ...result, startCpuMs: workload.client === 'qemu-img' ? starts[target.name]! : 0 };
      });
      rounds.push(round);
    }
  }
}

/** Some drivers start dozens of threads to connect: a slow system would pay for that with fewer requests. */
async function startCpuMs(target: Target): Promise<number> {
  const now = () => cpuMs(target.pids) + childrenCpuMs();
  const before = now();
  const one = { name: 'start', client: 'qemu-img', direction: 'read', blockBytes: 4096, depth: 1 } as const;
  await qemuImgBench(target, { ...one, durable: 'no', quick: true }, 1);
  return now() - before;
}

/** Each round takes one more snapshot: after it, every object is shared and its first write has to part it again. */
async function measureSnapshots(
  runs: number,
  sizeBytes: number,
  field: Field<TargetName, Target>,
): Promise<PerTarget<SnapshotSample>[]> {
  const rounds: PerTarget<SnapshotSample>[] = [];
  for (let run = 0; run < runs; run++) {
    say(`snapshots, round ${run + 1} of ${runs}`);
    rounds.push(
      await field.round(run, async (target) => {
        if (target.snapshot === undefined) return undefined;
        const lookMs = target.look && (await timeMs(() => target.look!()));
        const before = machineTicks();
        const snapshotMs = await timeMs(() => target.snapshot!(`round${run}`));
        const { seconds } = await qemuImgBench(target, writesAfterSnapshot(sizeBytes), WRITES_AFTER);
        const writesMs = seconds * 1000;
        const stolen = stolenShare(before, machineTicks());
        return { snapshotMs, ...(lookMs && { lookMs }), writesMs, stolenShare: stolen };
      }),
    );
  }
  return rounds;
}

async function timeMs(run: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await run();
  return performance.now() - startMs;
}

function daemonMemory({ pids, roles }: Target): DaemonMemory[] {
  return pids.map((pid, index) => ({ role: roles?.[index] ?? 'daemon', ...memoryOf(pid) }));
}
