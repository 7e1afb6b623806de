import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import type { SheepConfig } from './config.js';
import { joinLocalCluster } from './local-cluster.js';

/**
 * How a sheep starts that was given the original's options: it leaves the terminal, and the command returns when it
 * serves, or says why it does not. The child tells its parent through a pipe: one line, `ready` or the reason.
 */
const READY_FD = 3;
/** In the environment of the child, and of whatever it starts: it is in the background already. */
const CHILD_VARIABLE = 'SHEEPFOLD_BACKGROUND';
/** Replaying a full journal takes seconds; past this the sheep goes on, and its log tells. */
const READY_DEADLINE_MS = 120_000;

/** True when this process is to start another one and wait for it. */
export function startsInBackground(config: SheepConfig): boolean {
  return config.original?.background === true && process.env[CHILD_VARIABLE] === undefined;
}

/** Starts this program again, on its own. Returns the exit code; what went wrong is told on standard error. */
export async function startInBackground(config: SheepConfig): Promise<number> {
  for (const notice of config.original?.notices ?? []) process.stderr.write(`sheep: ${notice}\n`);
  if (config.log !== undefined) mkdirSync(dirname(config.log), { recursive: true });
  // What the daemon says before its log is open, or while it dies, must not be lost.
  const output = config.log === undefined ? 'inherit' : openSync(config.log, 'a', 0o640);
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    detached: true,
    stdio: ['ignore', output, output, 'pipe'],
    env: { ...process.env, [CHILD_VARIABLE]: '1' },
  });
  if (typeof output === 'number') closeSync(output);
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  const said = await firstLine(child.stdio[READY_FD] as Readable);
  child.unref();
  if (said === 'ready') return 0;
  const reason = said === '' ? await exited : said;
  const where = config.log === undefined ? '' : `; its log is ${config.log}`;
  process.stderr.write(`sheep: the daemon did not start: ${reason}${where}\n`);
  return 1;
}

/** '' when the pipe ends without a line. */
function firstLine(pipe: Readable): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const done = (line: string): void => {
      clearTimeout(timer);
      pipe.destroy();
      resolve(line);
    };
    const timer = setTimeout(
      () => done(`it is not ready after ${READY_DEADLINE_MS / 1000} s, and still tries`),
      READY_DEADLINE_MS,
    );
    pipe.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes('\n')) done(text.slice(0, text.indexOf('\n')));
    });
    pipe.once('end', () => done(text));
    pipe.once('error', () => done(text));
  });
}

let told = false;

/** Tells the parent, once. Does nothing in a process that was not started by one. */
export function tellParent(line: string): void {
  if (told || process.env[CHILD_VARIABLE] !== '1') return;
  told = true;
  // A process that this one starts has no parent that waits, and no pipe.
  process.env[CHILD_VARIABLE] = '0';
  try {
    writeSync(READY_FD, `${line.replaceAll('\n', ' ')}\n`);
    closeSync(READY_FD);
  } catch {
    // The parent has gone away: nobody waits.
  }
}

/**
 * What is left to do before a sheep with the original's options can run: its place in the cluster of this host, its
 * name among the processes, and doors that somebody else has taken already. Other sheep start as they are.
 */
export async function prepareOriginal(config: SheepConfig): Promise<SheepConfig> {
  const { original } = config;
  if (original === undefined) return config;
  nameProcess(original.title);
  const aside = await joinLocalCluster(original.localDirectory, config.dir);
  if (aside !== undefined) {
    process.stderr.write(
      `sheep: all stores of the cluster in ${original.localDirectory} are gone: a new one begins. ` +
        `If their disks are only not mounted, stop this sheep and move ${aside} back.\n`,
    );
  }
  return {
    ...config,
    nbdPort: await freeOrNone(config.host, config.nbdPort),
    httpPort: await freeOrNone(config.host, config.httpPort),
  };
}

/** Scripts find and kill sheep by `pkill -f "sheep /store/0"` and by `killall sheep`. */
function nameProcess(title: string): void {
  process.title = title;
  try {
    // Setting the title has made its first letters the short name too.
    writeFileSync('/proc/self/comm', 'sheep');
  } catch {
    // Not Linux, or no /proc: the title alone has to do.
  }
}

/** Nobody asked for these ports: one that is taken is a door less, and no failure. */
function freeOrNone(host: string, port: number): Promise<number> {
  if (port < 0) return Promise.resolve(port);
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(-1));
    server.listen(port, host, () => server.close(() => resolve(port)));
  });
}
