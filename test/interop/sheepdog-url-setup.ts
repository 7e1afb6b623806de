/** The helpers for sheepdog: names as processes of their own, as a script calls them. */
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import * as assert from 'uvu/assert';

export type HelperName = 'qemu-img' | 'qemu-io' | 'any-tool';

export interface Ended {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

const DEADLINE_MS = 60_000;

export function helperPath(name: HelperName): string {
  return fileURLToPath(new URL(`../../src/qemu/${name}-main.js`, import.meta.url));
}

export async function run(
  file: string,
  words: readonly string[],
  options: { input?: string; cwd?: string } = {},
): Promise<Ended> {
  const result = await execa(file, words, {
    reject: false,
    stripFinalNewline: false,
    timeout: DEADLINE_MS,
    input: options.input ?? '',
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  });
  return { exit: result.exitCode ?? -1, stdout: result.stdout, stderr: result.stderr };
}

export function helper(name: HelperName, ...words: string[]): Promise<Ended> {
  return run(process.execPath, ['--enable-source-maps', helperPath(name), ...words]);
}

export const img = (...words: string[]): Promise<Ended> => helper('qemu-img', ...words);

/** Standard output of a qemu-img call that must succeed. */
export async function mustImg(...words: string[]): Promise<string> {
  return must(await img(...words), `qemu-img ${words.join(' ')}`);
}

/** qemu-io on raw data; each command is one text. */
export async function mustIo(name: string, ...commands: string[]): Promise<string> {
  const words = ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), name];
  return must(await helper('qemu-io', ...words), `qemu-io ${words.join(' ')}`);
}

function must({ exit, stdout, stderr }: Ended, call: string): string {
  if (exit !== 0) throw new Error(`${call}: exit ${exit}\n${stdout}${stderr}`);
  return stdout;
}

/** Exit 1, nothing on standard output but `told`, and exactly this complaint. */
export function assertRefused(ended: Ended, complaint: string, told = ''): void {
  assert.equal(ended, { exit: 1, stdout: told, stderr: `${complaint}\n` });
}
