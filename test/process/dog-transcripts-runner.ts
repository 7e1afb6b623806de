/**
 * Runs transcripts: what the original's `dog` printed for a command line (the protocol reference's companion), held
 * against ours on a cluster of real sheep that were started with the original's options.
 *
 * A transcript is text, one case after the other:
 *
 *     $ dog vdi list nosuch          the command, for a shell; later lines are what is expected
 *     NAME                           a line of standard output
 *     v1\                            ... without a line end
 *     ! No VDI found                 a line of standard error
 *     ? 1                            the exit code, unless it is 0
 *     # why                          a remark; where ours differs from the original, it says so
 *
 * Ports 7000 to 7002 and /files, /store stand for those of the test. In expected lines, {minute}, {second}, {ctime}
 * are times, {size} is a size for people, {n} a number, {path} and {hex} what they say.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { dogMain, sheepMain } from '../helpers/launcher.js';
import { within } from '../helpers/real-cluster.js';

export interface Transcript {
  readonly command: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly exit: number;
}

const placeholders: Readonly<Record<string, string>> = {
  minute: '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d',
  second: '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d',
  ctime: '\\w{3} \\w{3} [ \\d]\\d \\d\\d:\\d\\d:\\d\\d \\d{4}',
  size: '\\d+(?:\\.\\d)? [MGTP]B',
  n: '\\d+',
  hex: '[0-9a-f]+',
  path: '/\\S+',
};

export function parseTranscripts(text: string): Transcript[] {
  const cases: { command: string; stdout: string; stderr: string; exit: number }[] = [];
  for (const line of text.split('\n').slice(1, -1)) {
    const last = cases.at(-1);
    if (line.startsWith('$ ')) cases.push({ command: line.slice(2), stdout: '', stderr: '', exit: 0 });
    else if (line.startsWith('# ')) continue;
    else if (last === undefined) throw new Error(`no command before: ${line}`);
    else if (line.startsWith('! ')) last.stderr += ended(line.slice(2));
    else if (line.startsWith('? ')) last.exit = Number(line.slice(2));
    else last.stdout += ended(line);
  }
  return cases;
}

function ended(line: string): string {
  return line.endsWith('\\') && !line.endsWith('\\\\') ? line.slice(0, -1) : `${line}\n`;
}

function pattern(text: string): RegExp {
  const escaped = text.replace(/[.*+?^$()|[\]\\]/g, '\\$&');
  const filled = escaped.replace(/\{(\w+)\}/g, (whole, name: string) => placeholders[name] ?? whole);
  return new RegExp(`^${filled}$`);
}

const COMMAND_DEADLINE_MS = 30_000;

/** Three sheep with the original's options, on ports of four digits: tables keep their columns. */
export class OriginalCluster {
  readonly files: string;
  private readonly env: NodeJS.ProcessEnv;

  private constructor(
    readonly folder: string,
    readonly port: number,
  ) {
    this.files = join(folder, 'files');
    mkdirSync(this.files);
    this.env = {
      ...process.env,
      SHEEPFOLD_HOME: join(folder, 'home'),
      SHEEPDOG_DOG_PORT: String(port),
      NODE: process.execPath,
      DOG: dogMain,
      SHEEP: sheepMain,
    };
  }

  static async make(): Promise<OriginalCluster> {
    return new OriginalCluster(mkdtempSync(join(tmpdir(), 'sheepfold-old-')), await fourDigitPorts());
  }

  /** Starts sheep as an old script does; returns when they serve. */
  async start(...indexes: number[]): Promise<void> {
    for (const index of indexes) {
      const done = await this.shell(`sheep /store/${index} -z ${index} -p ${7000 + index} -c local`);
      assert.is(done.exit, 0, done.stderr);
    }
  }

  /** Runs a line with `dog` and `sheep` as commands. Rejects when it does not end. */
  shell(line: string): Promise<{ stdout: string; stderr: string; exit: number }> {
    const script = `dog() { "$NODE" "$DOG" "$@"; }\nsheep() { "$NODE" "$SHEEP" "$@"; }\n${this.here(line)}`;
    // From a file: `pkill -f "sheep /store/0"` must not find the shell that says it.
    const file = join(this.folder, 'script');
    writeFileSync(file, script);
    const child = spawn('sh', [file], { env: this.env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('latin1');
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString('latin1');
    });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        reject(new Error(`no end after ${COMMAND_DEADLINE_MS} ms: ${line}`));
      }, COMMAND_DEADLINE_MS);
      child.once('close', (code) => {
        clearTimeout(timer);
        resolve({ stdout, stderr, exit: code ?? -1 });
      });
    });
  }

  async check(transcript: Transcript): Promise<void> {
    const { stdout, stderr, exit } = await this.shell(transcript.command);
    const told = `$ ${transcript.command}\n--- stdout\n${stdout}--- stderr\n${stderr}--- exit ${exit}\n`;
    for (const [got, wanted] of [
      [stdout, this.here(transcript.stdout)],
      [stderr, this.here(transcript.stderr)],
    ] as const) {
      if (!pattern(wanted).test(got)) throw new Error(`${told}--- wanted\n${wanted}`);
    }
    if (exit !== transcript.exit) throw new Error(`${told}--- wanted exit ${transcript.exit}`);
  }

  async checkAll(text: string): Promise<void> {
    const failures: string[] = [];
    for (const transcript of parseTranscripts(text)) {
      try {
        await this.check(transcript);
      } catch (error) {
        failures.push((error as Error).message);
      }
    }
    if (failures.length > 0) throw new Error(`${failures.length} differ\n${failures.join('\n')}`);
  }

  /** Ends what still runs, and removes everything. */
  async stop(): Promise<void> {
    const left = readdirSync('/proc')
      .map(Number)
      .filter((pid) => Number.isSafeInteger(pid) && this.isOurs(pid));
    for (const pid of left) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself meanwhile.
      }
    }
    await within(10_000, 'all sheep have ended', () => !left.some((pid) => this.isOurs(pid)));
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The folder is in the command line of each: nobody else has one of that name. */
  private isOurs(pid: number): boolean {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${this.folder}/`);
    } catch {
      // It has ended.
      return false;
    }
  }

  private here(text: string): string {
    return text
      .replace(/\b700([0-9])\b/g, (_, digit: string) => String(this.port + Number(digit)))
      .replaceAll('/files', this.files)
      .replaceAll('/store/', `${this.folder}/store/`);
  }
}

/** The first of ten free ports in a row, below those that connections get. */
async function fourDigitPorts(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const base = 2100 + Math.floor(Math.random() * 780) * 10;
    const free = await Promise.all(Array.from({ length: 10 }, (_, index) => isFree(base + index)));
    if (free.every((one) => one)) return base;
  }
  throw new Error('no ten free ports in a row');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
