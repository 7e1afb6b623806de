/** The foreign clients that make the load: what is run, and what is read out of their answers. */
import { execFile } from 'node:child_process';
import { ownedProcess } from '../helpers/real-cluster.js';
import { randomBlock, scatteredStep } from './scatter.js';
import type { Endpoint } from './targets.js';
import type { Workload } from './workloads.js';

/** What one run of a client says about itself; starting and connecting is not part of it. */
export interface ClientResult {
  readonly operations: number;
  readonly seconds: number;
  /** Completion latency, fio only. */
  readonly latencyP50Us?: number;
  readonly latencyP99Us?: number;
}

const DEADLINE_MS = 60_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
const PATTERN = '0x5a';

/** Standard output and error of a program; rejects with both when it fails or hangs. */
export function runClient(
  command: string,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
  deadlineMs = DEADLINE_MS,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const limits = { timeout: deadlineMs, maxBuffer: OUTPUT_BYTES_MAX, env: { ...process.env, ...env } };
    const child = execFile(command, words, limits, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${command} ${words.join(' ')}: ${error.message}\n${stdout}${stderr}`));
    });
    // A client of Ceph waits for its dead daemons for ever.
    ownedProcess(child);
  });
}

/** Runs `operations` requests with qemu-img bench: in sequence from the start of the volume, or scattered over it. */
export async function qemuImgBench(
  at: Endpoint,
  workload: Workload,
  operations: number,
): Promise<ClientResult> {
  const output = await runClient(at.qemuImg ?? 'qemu-img', qemuImgWords(at, workload, operations));
  return { operations, seconds: qemuImgSeconds(output) };
}

export function qemuImgWords(at: Endpoint, workload: Workload, operations: number): string[] {
  const { direction, blockBytes, depth, durable, flushEvery = depth, scatteredOverBytes } = workload;
  const words = ['bench', '-f', 'raw', '-c', `${operations}`, '-d', `${depth}`, '-s', `${blockBytes}`];
  if (scatteredOverBytes !== undefined) {
    words.push('-S', `${scatteredStep(scatteredOverBytes, blockBytes)}`);
    words.push('-o', `${randomBlock(scatteredOverBytes, blockBytes)}`);
  }
  if (direction === 'write') words.push('-w', `--pattern=${PATTERN}`);
  if (durable === 'flush') words.push(`--flush-interval=${flushEvery}`);
  words.push('-t', durable === 'fua' ? 'writethrough' : 'writeback', at.uri ?? at.file!);
  return words;
}

/** How long the requests took, without the client's start. */
export function qemuImgSeconds(output: string): number {
  const seconds = Number(/Run completed in ([\d.]+) seconds/.exec(output)?.[1]);
  if (!(seconds >= 0)) throw new Error(`qemu-img bench said something else:\n${output}`);
  // It prints milliseconds; a division by zero would be a boast.
  return Math.max(seconds, 0.001);
}

interface FioSide {
  total_ios: number;
  /** Milliseconds. */
  runtime: number;
  clat_ns: { percentile?: Record<string, number> };
}

/** Random offsets all over the volume for `seconds`. A file is opened by libaio through the page cache. */
export async function fioRandom(at: Endpoint, workload: Workload, seconds: number): Promise<ClientResult> {
  const output = await runClient('fio', fioWords(at, workload, seconds), at.fio?.env);
  return fioResult(output, workload.direction);
}

export function fioWords(at: Endpoint, workload: Workload, seconds: number): string[] {
  const { direction, blockBytes, depth, durable } = workload;
  const words = ['--name=bench', `--rw=rand${direction}`, `--bs=${blockBytes}`, `--iodepth=${depth}`];
  words.push('--time_based', `--runtime=${Math.round(seconds * 1000)}ms`, '--randrepeat=0', '--norandommap');
  words.push('--refill_buffers=0', '--output-format=json');
  if (durable !== 'no') words.push('--fsync=1');
  return [...words, ...fioEngineWords(at)];
}

/** The engine, and where it finds the volume. */
export function fioEngineWords(at: Endpoint): readonly string[] {
  if (at.fio !== undefined) return at.fio.words;
  if (at.uri !== undefined) return ['--ioengine=nbd', `--uri=${at.uri}`];
  return ['--ioengine=libaio', `--filename=${at.file}`, '--invalidate=0'];
}

export function fioResult(output: string, direction: Workload['direction']): ClientResult {
  // Its nbd engine writes a line of its own before the JSON.
  const { jobs } = JSON.parse(output.slice(output.indexOf('{\n'))) as { jobs: Record<string, FioSide>[] };
  const side = jobs[0]?.[direction];
  if (side === undefined || side.total_ios === 0)
    throw new Error(`fio did nothing:\n${output.slice(0, 2000)}`);
  const { percentile } = side.clat_ns;
  const us = (key: string) => Math.round((percentile?.[key] ?? 0) / 100) / 10;
  const latency = percentile && { latencyP50Us: us('50.000000'), latencyP99Us: us('99.000000') };
  return { operations: side.total_ios, seconds: side.runtime / 1000, ...latency };
}

/** The names of fio's engines, out of what `fio --enghelp` prints. */
export function fioEngines(output: string): string[] {
  return output.split('\n').flatMap((line) => /^\s+(\S+)$/.exec(line)?.[1] ?? []);
}

/** Reads the whole volume in order. */
export async function readAll(at: Endpoint, sizeBytes: number): Promise<void> {
  const blockBytes = 1024 * 1024;
  const pass = { name: 'all', client: 'qemu-img', direction: 'read', blockBytes, depth: 8 } as const;
  await qemuImgBench(at, { ...pass, durable: 'no', quick: true }, Math.ceil(sizeBytes / blockBytes));
}

/** Fills the whole volume, so that no read finds a hole and no write makes an object. */
export async function prefill(at: Endpoint, sizeBytes: number): Promise<void> {
  const blockBytes = 1024 * 1024;
  const fill = { name: 'prefill', client: 'qemu-img', direction: 'write', blockBytes, depth: 4 } as const;
  await qemuImgBench(at, { ...fill, durable: 'no', quick: true }, Math.ceil(sizeBytes / blockBytes));
}
