/** `dog relay` as a process of its own, between a test's client and real sheep. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { dogMain } from './launcher.js';
import { freePorts, ownedProcess, within } from './real-cluster.js';

const START_DEADLINE_MS = 10_000;
const END_DEADLINE_MS = 5000;

export interface RelayProcess {
  readonly host: string;
  readonly port: number;
  readonly pid: number;
  log(): string;
  /** Exit code, or the signal it died of. */
  stop(): Promise<number | string>;
}

/** To these sheep, the first one preferred. */
export async function startRelay(folder: string, sheep: readonly { port: number }[]): Promise<RelayProcess> {
  const [port] = (await freePorts(1)) as [number];
  const host = '127.0.0.1';
  const file = join(folder, `relay-${port}.log`);
  const to = sheep.map((one) => `${host}:${one.port}`).join(',');
  const output = openSync(file, 'a');
  const words = ['relay', '--listen', `${host}:${port}`, '--to', to];
  const child = ownedProcess(
    spawn(process.execPath, ['--enable-source-maps', dogMain, ...words], {
      stdio: ['ignore', output, output],
    }),
  );
  closeSync(output);
  const exited = new Promise<number | string>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  const log = () => readFileSync(file, 'utf8');
  await within(START_DEADLINE_MS, 'the relay listens', () => {
    if (child.exitCode !== null) throw new Error(log());
    return accepts(host, port);
  });
  return {
    host,
    port,
    pid: child.pid ?? -1,
    log,
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), END_DEADLINE_MS);
      return exited.finally(() => clearTimeout(timer));
    },
  };
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
