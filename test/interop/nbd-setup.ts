import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import { listenNbd, type NbdListener } from '../../src/nbd/listen.js';
import { createNbdServer, type NbdServer, type NbdServerOptions } from '../../src/nbd/server.js';
import type { BlockDevice } from '../../src/volume/device.js';
import { MemoryProvider } from '../helpers/memory-device.js';

export const TOOL_TIMEOUT_MS = 30_000;

export interface ToolResult {
  code: number;
  stdout: string;
  /** Standard output, then standard error. */
  output: string;
}

/** Runs a foreign tool with a deadline. */
export function tool(command: string, ...args: string[]): Promise<ToolResult> {
  return new Promise((resolve) => {
    const options = { timeout: TOOL_TIMEOUT_MS, maxBuffer: 64 * 1024 * 1024 };
    execFile(command, args, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, output: stdout + stderr });
    });
  });
}

/** Standard output (tools grumble beside it, as nbdinfo without `file`); throws with all output on failure. */
export async function mustRun(command: string, ...args: string[]): Promise<string> {
  const { code, stdout, output } = await tool(command, ...args);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${code}\n${output}`);
  return stdout;
}

/** A server in this process on a unix socket and on TCP, with memory behind it and a folder for files. */
export interface InteropServer {
  readonly server: NbdServer;
  readonly provider: MemoryProvider;
  readonly folder: string;
  readonly port: number;
  /** nbd+unix URI of an export. */
  uri(name: string): string;
  close(): Promise<void>;
}

export async function startServer(
  options: Partial<NbdServerOptions> = {},
  wrap: (device: BlockDevice) => BlockDevice = (device) => device,
): Promise<InteropServer> {
  const folder = mkdtempSync(join(tmpdir(), 'nbd-interop-'));
  const provider = new MemoryProvider(wrap);
  const server = createNbdServer({ clock: systemClock, log: silentLogger, ...options, provider });
  const path = join(folder, 'nbd.sock');
  const listeners: NbdListener[] = [
    await listenNbd(server, { path }),
    await listenNbd(server, { host: '127.0.0.1', port: 0 }),
  ];
  return {
    server,
    provider,
    folder,
    port: listeners[1]!.port!,
    uri: (name) => `nbd+unix:///${encodeURIComponent(name)}?socket=${path}`,
    async close() {
      for (const listener of listeners) await listener.close();
      await server.close();
      rmSync(folder, { recursive: true });
    },
  };
}
