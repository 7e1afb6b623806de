import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';
import type { Substitutions } from './substitution.js';
import { ToolError } from './tool-error.js';
import { isWrapper, toolVariable } from './wrapper.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** The first tool of that name on PATH which is no wrapper of ours. Rejects with ToolError, exit 127. */
export function findRealTool(tool: string, env: Environment): string {
  const named = env[toolVariable(tool)];
  if (named !== undefined && named !== '') return named;
  if (tool.includes('/')) return tool;
  for (const directory of (env.PATH ?? '').split(delimiter)) {
    const path = join(directory === '' ? '.' : directory, tool);
    if (isProgram(path) && !isWrapper(path)) return path;
  }
  throw new ToolError(`the real ${tool} is not on PATH: install QEMU's tools`, 127);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

export interface RunOptions {
  readonly substitutions: Substitutions;
  /** 'pass': as it is, for what never names a file (progress); 'edit': names are put back; 'take': for the caller. */
  readonly output: 'pass' | 'edit' | 'take';
}

export interface RunResult {
  readonly exit: number;
  /** With output 'take'. */
  readonly output: string;
}

const SIGNAL_EXIT = 128;
const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** Runs the real tool with our standard input; its standard error has the names put back. */
export async function runRealTool(
  path: string,
  words: readonly string[],
  options: RunOptions,
): Promise<RunResult> {
  const { substitutions, output } = options;
  const child = execa(path, words, {
    stdin: 'inherit',
    stdout: output === 'pass' ? 'inherit' : 'pipe',
    stderr: substitutions.isEmpty ? 'inherit' : 'pipe',
    buffer: { stdout: output === 'take', stderr: false },
    maxBuffer: Number.MAX_SAFE_INTEGER,
    stripFinalNewline: false,
    reject: false,
  });
  const streams: [NodeJS.ReadableStream | null, NodeJS.WritableStream][] = [[child.stderr, process.stderr]];
  if (output === 'edit') streams.push([child.stdout, process.stdout]);
  // A signal to us alone (a timeout of the caller) must not leave the tool behind.
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, forward);
  try {
    const copies = streams.map(([from, to]) => copyEdited(from, to, substitutions));
    const result = await child;
    await Promise.all(copies);
    return { exit: exitOf(path, result), output: typeof result.stdout === 'string' ? result.stdout : '' };
  } finally {
    for (const signal of signals) process.removeListener(signal, forward);
  }
}

async function copyEdited(
  from: NodeJS.ReadableStream | null,
  to: NodeJS.WritableStream,
  substitutions: Substitutions,
): Promise<void> {
  if (from === null) return;
  for await (const text of from.pipe(substitutions.stream())) to.write(text);
}

interface Ended {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly code?: string | undefined;
}

function exitOf(path: string, result: Ended): number {
  if (result.exitCode !== undefined) return result.exitCode;
  if (result.signal !== undefined) return SIGNAL_EXIT + (signalNumbers[result.signal] ?? 0);
  throw new ToolError(`${path} cannot be run${result.code === undefined ? '' : `: ${result.code}`}`, 126);
}
