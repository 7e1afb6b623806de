import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { AppError, type ErrorCode } from '../base/errors.js';

/** What virsh may take for an ordinary answer; a daemon that hangs must not hang us. */
const TIMEOUT_MS = 30_000;
/** libvirt's own limit for one string in its protocol is 4 MiB; lists may have a few of them. */
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

export interface VirshOptions {
  /** Where libvirt is, as `virsh -c` takes it; without, what virsh itself would take. */
  readonly uri?: string | undefined;
  /** The program; `virsh` on PATH without. */
  readonly program?: string | undefined;
}

export interface VirshRun {
  readonly timeoutMs?: number;
}

/** A version as libvirt numbers them: 9.0.0. */
export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

export interface Versions {
  /** Of the daemon that answers; it may be newer or older than virsh. */
  readonly libvirt: Version;
  /** Of the emulator that the daemon starts by default; undefined when it has none. */
  readonly qemu: Version | undefined;
}

/**
 * libvirt through the host's own `virsh`: one process for one command, with an end, and its complaints as AppErrors:
 * 'system' (virsh or libvirt is not there, or does not answer), 'missing' (no such domain or disk), 'exists',
 * 'invalid' (not in the state for that), 'not-supported', 'unknown'. Messages are libvirt's own.
 */
export class Virsh {
  constructor(private readonly options: VirshOptions = {}) {}

  /** Program and operands of one command, for who starts it in a way of its own. */
  commandLine(words: readonly string[]): [program: string, ...words: string[]] {
    const { uri, program = 'virsh' } = this.options;
    return [program, '-q', ...(uri === undefined ? [] : ['-c', uri]), ...words];
  }

  /** Runs one command and resolves with what it wrote on standard output. Rejects with AppError, see above. */
  async run(words: readonly string[], run: VirshRun = {}): Promise<string> {
    const [program, ...line] = this.commandLine(words);
    const result = await execa(program, line, {
      // Complaints are told apart by their words.
      env: { LC_ALL: 'C' },
      stdin: 'ignore',
      timeout: run.timeoutMs ?? TIMEOUT_MS,
      killSignal: 'SIGKILL',
      maxBuffer: OUTPUT_BYTES_MAX,
      stripFinalNewline: false,
      reject: false,
    });
    if (result.exitCode === 0) return result.stdout;
    if (result.code === 'ENOENT') {
      throw new AppError('system', `${program} is not installed: dog vm talks to libvirt through it`);
    }
    if (result.timedOut) throw new AppError('system', `libvirt did not answer: virsh ${words[0] ?? ''}`);
    throw virshError(result.stderr || (result.shortMessage ?? ''));
  }

  /**
   * A command that reads XML from a file, whose name comes after the words. A file it is: virsh cannot open the socket
   * that Node.js gives to children as their standard input. Rejects as `run` does.
   */
  async runWithXml(words: readonly string[], xml: string, run: VirshRun = {}): Promise<string> {
    const folder = mkdtempSync(join(tmpdir(), 'sheepfold-vm-'));
    try {
      const path = join(folder, 'xml');
      writeFileSync(path, xml, { mode: 0o600 });
      return await this.run([...words, path], run);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** Of the daemon and its emulator. */
  async versions(): Promise<Versions> {
    const text = await this.run(['version', '--daemon']);
    const libvirt = versionIn(text, /^Running against daemon: (.*)$/m);
    if (libvirt === undefined) throw new AppError('system', 'libvirt does not tell its version');
    return { libvirt, qemu: versionIn(text, /^Running hypervisor: QEMU (.*)$/m) };
  }

  /** Of the running domain, or with `inactive` what it is started with the next time. */
  domainXml(domain: string, options: { inactive?: boolean } = {}): Promise<string> {
    return this.run(['dumpxml', ...(options.inactive === true ? ['--inactive'] : []), '--domain', domain]);
  }

  /** Of all domains, or of those that run. */
  async domainNames(options: { running?: boolean } = {}): Promise<string[]> {
    const which = options.running === true ? '--state-running' : '--all';
    const text = await this.run(['list', '--name', which]);
    return text.split('\n').filter((name) => name !== '');
  }

  /** `running`, `paused`, `shut off`, ... as virsh says it. */
  async domainState(domain: string): Promise<string> {
    return (await this.run(['domstate', '--domain', domain])).trim();
  }

  /**
   * One QMP command to the emulator of a running domain, in libvirt's order with its own; resolves with what it
   * returns. libvirt marks the domain as tainted (custom-monitor). Rejects with AppError 'unknown', message of QEMU.
   */
  async monitor(domain: string, execute: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const command = JSON.stringify({ execute, arguments: args });
    const text = await this.run(['qemu-monitor-command', '--domain', domain, '--cmd', command]);
    const answer = JSON.parse(text) as { return?: unknown; error?: { desc?: string } };
    if (answer.error !== undefined) {
      throw new AppError('unknown', `QEMU refuses ${execute}: ${answer.error.desc ?? 'without a reason'}`);
    }
    return answer.return;
  }
}

/** Whether `version` is `major.minor` or newer. */
export function isAtLeast(version: Version, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}

export function versionText({ major, minor, patch }: Version): string {
  return `${major}.${minor}.${patch}`;
}

function versionIn(text: string, pattern: RegExp): Version | undefined {
  const found = /^(\d{1,5})\.(\d{1,5})\.(\d{1,5})/.exec(pattern.exec(text)?.[1] ?? '');
  if (found === null) return undefined;
  return { major: Number(found[1]), minor: Number(found[2]), patch: Number(found[3]) };
}

/** Codes by libvirt's words: virsh has one exit code for all that goes wrong. The first match counts. */
const complaints: readonly (readonly [RegExp, ErrorCode])[] = [
  [/failed to connect to the hypervisor|Failed to connect socket|End of file while reading/, 'system'],
  [
    /^failed to get domain|Domain not found|No disk found|No found disk|no target device|no disk .*found/im,
    'missing',
  ],
  [/already exists|already defined/, 'exists'],
  [
    /domain is not running|not in (a )?running|Requested operation is not valid|already (active|running)/,
    'invalid',
  ],
  [/not supported|unsupported/i, 'not-supported'],
];

/** What virsh wrote on standard error, without its `error: ` at the head of each line. */
export function virshError(stderr: string): AppError {
  const lines = stderr.split('\n').map((line) => line.replace(/^error: /, '').trim());
  const text = [...new Set(lines.filter((line) => line !== ''))].join('; ');
  const code = complaints.find(([pattern]) => pattern.test(text))?.[1] ?? 'unknown';
  return new AppError(code, text === '' ? 'virsh failed without a word' : text);
}
