/** Foreign programs with a deadline. */
import { execFile } from 'node:child_process';

const DEADLINE_MS = 60_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

export interface Finished {
  /** -1 when it was ended by a signal. */
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function run(words: readonly string[]): Promise<Finished> {
  const [program, ...rest] = words as [string, ...string[]];
  return new Promise((resolve) => {
    const options = { timeout: DEADLINE_MS, killSignal: 'SIGKILL', maxBuffer: OUTPUT_BYTES_MAX } as const;
    execFile(program, rest, options, (error, stdout, stderr) => {
      const exit = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ exit, stdout, stderr });
    });
  });
}

/** Standard output; throws with everything it said on failure. qemu-io says that a pattern differs on its output. */
export async function mustRun(words: readonly string[]): Promise<string> {
  const { exit, stdout, stderr } = await run(words);
  if (exit !== 0 || /verification failed/i.test(stdout)) {
    throw new Error(`${words.join(' ')}: exit ${exit}\n${stdout}${stderr}`);
  }
  return stdout;
}
