/**
 * A host of a test's own: namespaces for mounts, host name and processes, so that several are beside each other and
 * beside the machine's, each with daemons that believe that it is a host.
 *
 * Private to each: /run, /var, the files of /etc that it is given, its name, and its processes, which end with the
 * test, however that happens. Shared with the machine: its programs and /tmp, so that sockets and files there mean the
 * same everywhere; and the network, unless it is given one.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { folderPrefix } from './netns-leftovers.js';
import { ownedProcess, within } from './real-cluster.js';

const START_DEADLINE_MS = 60_000;
const RUN_DEADLINE_MS = 120_000;
const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;

/**
 * The first process of the namespace. It must be one that waits for children it never had: daemons become its children,
 * and libvirt takes an emulator that nobody waited for to be alive.
 */
const FIRST_PROCESS = `
set -e
root=$1 name=$2
shift 2
hostname "$name"
while [ $# -gt 0 ]; do
  mount --bind "$2" "$root/run/$1"
  shift 2
done
mount --rbind "$root/run" /run
mount --bind "$root/var" /var
for own in "$root"/etc/*; do
  mount --bind "$own" "/etc/\${own##*/}"
done
touch "$root/ready"
while :; do
  sleep 1000 &
  wait
done
`;

export interface PrivateHostOptions {
  /** The host's name, and part of its folder's; `removeLeftovers` removes the folders of runs that were killed. */
  readonly name: string;
  /** Files by their paths below /etc; what is at the first part of such a path is wholly the host's own. */
  readonly etc?: Readonly<Record<string, string>>;
  /** Folders by their paths, as in `/var/log`; below /run, /var or the host's own part of /etc. */
  readonly folders?: readonly string[];
  /** Folders of the machine by the names they have in the host's /run: doors of the sheep that is its own. */
  readonly runFolders?: Readonly<Record<string, string>>;
  /** Its network, as `ip netns` names it; without one, the machine's. */
  readonly network?: string;
}

/** What became of a program that ended. */
export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class PrivateHost {
  private constructor(
    readonly name: string,
    /** Of this host alone: `run`, `var` and `etc` as it sees them; files in it are seen by the test as well. */
    readonly folder: string,
    private readonly maker: ChildProcess,
    /** Its first process, as the machine counts. */
    readonly pid: number,
  ) {}

  /** Makes the host; resolves when programs can be run on it. */
  static async make(options: PrivateHostOptions): Promise<PrivateHost> {
    const { name, runFolders = {}, network } = options;
    const folder = mkdtempSync(`${folderPrefix}${name}-`);
    prepareFolder(folder, options);
    const spaces = ['--mount', '--uts', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const first = ['bash', '-c', FIRST_PROCESS, 'host', folder, name, ...Object.entries(runFolders).flat()];
    const words = [
      'setpriv',
      '--pdeathsig',
      'SIGKILL',
      'unshare',
      ...spaces,
      '--propagation',
      'private',
      ...first,
    ];
    const inNetwork = network === undefined ? words : ['nsenter', `--net=/run/netns/${network}`, ...words];
    const stdio: ('ignore' | 'pipe')[] = ['ignore', 'ignore', 'pipe'];
    const maker = ownedProcess(spawn(inNetwork[0]!, inNetwork.slice(1), { stdio }));
    let complaints = '';
    maker.stderr?.on('data', (chunk: Buffer) => (complaints += chunk));
    try {
      await within(START_DEADLINE_MS, `the host ${name} is made`, () => {
        return maker.exitCode !== null || existsSync(join(folder, 'ready'));
      });
      if (maker.exitCode !== null) throw new Error(`the host ${name} cannot be made: ${complaints}`);
      return new PrivateHost(name, folder, maker, onlyChildOf(maker.pid!));
    } catch (error) {
      await endSpace(maker);
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Its process namespace, as /proc/PID/ns/pid names it. */
  get space(): string {
    return readlinkSync(`/proc/${this.pid}/ns/pid`);
  }

  /** The words that run a program on it. */
  enter(...words: string[]): string[] {
    return ['nsenter', '-t', String(this.pid), '-m', '-u', '-n', '-p', ...words];
  }

  /** Runs a short program on it, which must succeed. */
  inside(...words: string[]): void {
    const [program, ...rest] = this.enter(...words);
    const { status, stderr } = spawnSync(program!, rest, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${this.name}: ${words.join(' ')}: exit ${status}\n${stderr}`);
  }

  /** Runs a program on it, with its exit code and output; rejects only when it does not end in time. */
  run(words: readonly string[], deadlineMs = RUN_DEADLINE_MS): Promise<RunResult> {
    return runWords(this.enter(...words), deadlineMs);
  }

  /** Output of a program that must succeed. */
  async must(words: readonly string[], deadlineMs = RUN_DEADLINE_MS): Promise<string> {
    const { code, stdout, stderr } = await this.run(words, deadlineMs);
    if (code !== 0) throw new Error(`${this.name}: ${words.join(' ')}: exit ${code}\n${stderr}${stdout}`);
    return stdout.trim();
  }

  /** Writes a file that programs on it can be given; its path. */
  file(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  /** What is in a file as the host sees it, below /run or /var; empty when it is not there. */
  read(path: string): string {
    const file = join(this.folder, path);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /** Ends all that runs on it and the host, at once, and removes its files. */
  async stop(): Promise<void> {
    await endSpace(this.maker);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Runs a program of the machine; rejects only when it does not end in time. */
export function runWords(words: readonly string[], deadlineMs = RUN_DEADLINE_MS): Promise<RunResult> {
  const [program, ...rest] = words;
  const options = { timeout: deadlineMs, maxBuffer: OUTPUT_BYTES_MAX, killSignal: 'SIGKILL' as const };
  return new Promise((resolve, reject) => {
    const child = execFile(program!, rest, options, (error, stdout, stderr) => {
      if (error?.killed) reject(new Error(`${words.join(' ')} does not end\n${stdout}${stderr}`));
      else resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
    ownedProcess(child);
  });
}

/** What is private to a host, before it is there. */
function prepareFolder(folder: string, options: PrivateHostOptions): void {
  const { etc = {}, folders = [], runFolders = {} } = options;
  for (const path of ['run', 'etc', 'var/tmp', ...folders, ...Object.keys(runFolders).map((n) => `run/${n}`)])
    mkdirSync(join(folder, path), { recursive: true });
  symlinkSync('/run', join(folder, 'var/run'));
  for (const [name, text] of Object.entries(etc)) {
    const path = join(folder, 'etc', name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}

function onlyChildOf(pid: number): number {
  const children = childrenOf(pid);
  if (children.length !== 1) throw new Error(`process ${pid} has not one child: ${children}`);
  return children[0]!;
}

/** None when the process has ended. */
function childrenOf(pid: number): number[] {
  const file = `/proc/${pid}/task/${pid}/children`;
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  return text.split(' ').filter(Boolean).map(Number);
}

/**
 * The kernel ends all processes of the namespace with the first. Who made it has waited for that when it ends itself,
 * and so nothing writes to the host's files any more.
 */
async function endSpace(maker: ChildProcess): Promise<void> {
  if (maker.exitCode !== null || maker.signalCode !== null) return;
  const ended = new Promise((resolve) => maker.once('exit', resolve));
  const [first] = childrenOf(maker.pid!);
  if (first === undefined) maker.kill('SIGKILL');
  else process.kill(first, 'SIGKILL');
  await ended;
}
