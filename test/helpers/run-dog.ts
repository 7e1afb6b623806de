import { Readable, Writable } from 'node:stream';
import { runDog } from '../../src/cli/program.js';
import { ControlListener, within } from './control-pair.js';
import { FakeCluster } from './fake-cluster.js';

export interface DogResult {
  exit: number;
  stdout: string;
  stdoutBytes: Buffer;
  stderr: string;
}

class Collector extends Writable {
  readonly parts: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.parts.push(Buffer.from(chunk));
    callback();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.parts);
  }
}

/** Runs one command line of dog in this process. */
export async function dog(
  argv: readonly string[],
  options: {
    stdin?: string | Buffer | Readable;
    env?: Record<string, string>;
    deadlineMs?: number;
    /** Standard error is a terminal: hints are shown. */
    terminal?: boolean;
  } = {},
): Promise<DogResult> {
  const stdout = new Collector();
  const stderr = new Collector();
  const stdin =
    options.stdin instanceof Readable ? options.stdin : Readable.from(chunks(options.stdin ?? ''));
  const io = {
    stdin,
    stdout,
    stderr,
    env: options.env ?? {},
    stdinIsTerminal: false,
    stderrIsTerminal: options.terminal ?? false,
  };
  const exit = await within(runDog(argv, io), `dog ${argv.join(' ')}`, options.deadlineMs);
  return {
    exit,
    stdout: stdout.bytes.toString(),
    stdoutBytes: stdout.bytes,
    stderr: stderr.bytes.toString(),
  };
}

/** Pipes deliver 64 KiB at a time; sources of other shapes would hide mistakes of cutting. */
function chunks(data: string | Buffer): Buffer[] {
  const bytes = Buffer.from(data);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 65536) parts.push(bytes.subarray(at, at + 65536));
  return parts;
}

/** A fake cluster behind a real socket, and dog pointed at it. */
export class DogBench {
  readonly cluster = new FakeCluster();
  private constructor(private listener: ControlListener | undefined) {}

  static async start(): Promise<DogBench> {
    const bench = new DogBench(undefined);
    bench.listener = await ControlListener.start(bench.cluster.call);
    return bench;
  }

  get port(): number {
    return this.listener!.port;
  }

  /** `line` is split at blanks; use `args` for operands with blanks. */
  run(
    line: string,
    options: {
      stdin?: string | Buffer | Readable;
      args?: string[];
      terminal?: boolean;
      env?: Record<string, string>;
    } = {},
  ): Promise<DogResult> {
    const words = [...line.split(' '), ...(options.args ?? [])];
    return dog([...words, '-p', String(this.port)], options);
  }

  async stop(): Promise<void> {
    await this.listener?.stop();
  }
}
