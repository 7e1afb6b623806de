import type { Readable, Writable } from 'node:stream';
import { AppError } from '../base/errors.js';
import type { ControlMethod, ControlParams, ControlResult } from '../control/api.js';
import type { CallOptions, ControlAnswer, ControlClient } from '../control/client.js';
import { Exit, exitCodes, exitOf } from './exit.js';
import { write } from './output.js';
import { Silence } from './silence.js';

/** The process around a command, as parameters, so that tests run commands without a process. */
export interface Io {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdinIsTerminal: boolean;
  readonly stderrIsTerminal: boolean;
}

/** Options every command takes, before or after the command's own. */
export interface GlobalOptions {
  address?: string;
  port?: string;
  raw?: boolean;
  verbose?: boolean;
  time?: boolean;
  json?: boolean;
}

const RETRY_MS = 100;

/** What a command works with: where to print, whom to ask. */
export class Context {
  readonly raw: boolean;
  readonly verbose: boolean;
  readonly json: boolean;
  readonly host: string;
  readonly port: number;
  /** Volume lists as old libvirt needs them (README.md, "Old libvirt"). */
  readonly libvirtLists: boolean;
  /** True when somebody chose the port, by option or environment. */
  readonly portGiven: boolean;
  private connected: ControlClient | undefined;

  constructor(
    readonly io: Io,
    options: GlobalOptions,
  ) {
    this.raw = options.raw ?? false;
    this.verbose = options.verbose ?? false;
    this.json = options.json ?? false;
    this.libvirtLists = io.env.SHEEPFOLD_DOG_COMPAT === 'libvirt';
    this.host = options.address ?? io.env.SHEEPDOG_DOG_ADDR ?? '127.0.0.1';
    const port = options.port ?? io.env.SHEEPDOG_DOG_PORT;
    this.portGiven = port !== undefined;
    this.port = parsePort(port ?? '7000');
  }

  /** Text on standard output, as it is. */
  print(text: string | Uint8Array): Promise<void> {
    return write(this.io.stdout, text);
  }

  printLine(text: string): Promise<void> {
    return this.print(`${text}\n`);
  }

  printJson(value: unknown): Promise<void> {
    return this.print(`${JSON.stringify(value, undefined, 2)}\n`);
  }

  /** Something for people to notice: standard error, so that it never mixes with data. */
  note(text: string): void {
    this.io.stderr.write(`${text}\n`);
  }

  /** Something to notice that programs do not expect there: for terminals, and for who asks with -v. */
  remark(lines: readonly string[]): void {
    if (!this.io.stderrIsTerminal && !this.verbose) return;
    for (const line of lines) this.note(line);
  }

  /**
   * Connects once per command. Like the original it tries twice and tells each failure; `nodeList` adds the line
   * that it prints where it wants the list of nodes first.
   */
  async client(options: { nodeList?: boolean } = {}): Promise<ControlClient> {
    if (this.connected !== undefined) return this.connected;
    try {
      this.connected = await this.connect();
    } catch (first) {
      if (!AppError.isCode(first, 'network')) throw new Exit(exitCodes.failure, (first as Error).message);
      this.note(first.message);
      this.connected = await this.secondTry(options.nodeList ?? false);
    }
    return this.connected;
  }

  private async connect(): Promise<ControlClient> {
    // Loaded only where it is used: what asks no sheep needs no sockets.
    const { ControlClient } = await import('../control/client.js');
    return ControlClient.connect({ host: this.host, port: this.port });
  }

  private async secondTry(nodeList: boolean): Promise<ControlClient> {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    try {
      return await this.connect();
    } catch (error) {
      const { message, hint } = exitOf(error);
      const text = nodeList ? `${message}\nFailed to get node list` : message;
      throw new Exit(exitCodes.system, text, { hint, quietHint: true, cause: error });
    }
  }

  async call<M extends ControlMethod>(
    method: M,
    params: ControlParams<M>,
    options: CallOptions & { nodeList?: boolean } = {},
  ): Promise<ControlResult<M>> {
    return (await this.callWithBlob(method, params, options)).result;
  }

  async callWithBlob<M extends ControlMethod>(
    method: M,
    params: ControlParams<M>,
    options: CallOptions & { nodeList?: boolean } = {},
  ): Promise<ControlAnswer<M>> {
    const client = await this.client(options.nodeList === undefined ? {} : { nodeList: options.nodeList });
    const silence = new Silence((afterMs) => {
      const name = `${this.host}:${this.port}`;
      this.remark([`${name} has not answered for ${afterMs / 1000} s; still waiting (Ctrl-C gives up)`]);
    });
    const onProgress: CallOptions['onProgress'] = (progress) => {
      silence.heard();
      options.onProgress?.(progress);
    };
    try {
      return await client.call(method, params, { ...options, onProgress });
    } finally {
      silence.end();
    }
  }

  close(): void {
    this.connected?.close();
  }
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65535) throw new Exit(exitCodes.usage, `Invalid port number '${text}'`);
  return port;
}
