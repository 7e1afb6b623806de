/** What the kernel says about processes and the machine. Linux only, as the daemons are. */
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

/** Ticks of /proc/PID/stat: USER_HZ is 100 on every Linux that Node runs on. */
const TICK_MS = 10;

/** Fields of /proc/PID/stat behind the name, which may contain anything: index 0 is the state. */
function statFields(pid: number | 'self'): number[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
}

/** User and system time of all threads of these processes, summed. */
export function cpuMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (statFields(pid)[11]! + statFields(pid)[12]!) * TICK_MS, 0);
}

/** CPU of the children this process has waited for: the clients, as they run one after the other. */
export function childrenCpuMs(): number {
  const fields = statFields('self');
  return (fields[13]! + fields[14]!) * TICK_MS;
}

export interface Memory {
  /** In memory now, and the most there ever was. */
  readonly residentBytes: number;
  readonly peakBytes: number;
}

export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytes = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
  return { residentBytes: bytes('VmRSS'), peakBytes: bytes('VmHWM') };
}

/** Ticks of all processors since the start: how much of the machine others took tells how far to trust a figure. */
export interface MachineTicks {
  readonly total: number;
  readonly idle: number;
  readonly stolen: number;
}

export function machineTicks(): MachineTicks {
  const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]!;
  const [user, nice, system, idle, iowait, irq, softirq, steal] = line
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const busy = user! + nice! + system! + irq! + softirq! + steal!;
  return { total: busy + idle! + iowait!, idle: idle! + iowait!, stolen: steal! };
}

/** The share of the machine's time between two looks that other virtual machines took. */
export function stolenShare(before: MachineTicks, after: MachineTicks): number {
  return after.total > before.total ? (after.stolen - before.stolen) / (after.total - before.total) : 0;
}

export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  readonly tools: Record<string, string>;
  readonly loadAverage: readonly number[];
}

export function describeMachine(tools: Record<string, string>): Machine {
  const all = cpus();
  return {
    processor: all[0]?.model ?? 'unknown',
    processors: all.length,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    tools,
    loadAverage: loadavg().map((value) => Math.round(value * 100) / 100),
  };
}
