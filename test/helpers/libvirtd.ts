/**
 * A hypervisor of a test's own: libvirtd in namespaces for mounts, host name and processes, so that several run beside
 * each other and beside the machine's, each believing that it is a host, and guests migrate between them.
 *
 * Private to each: /run, /var, /etc/libvirt, the host's name and UUID, and its processes, which end with the namespace
 * whatever happens to the test. Shared with the machine: its programs, /tmp, and the network, so that loopback
 * addresses and sockets in /tmp mean the same everywhere.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
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
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ownedProcess, within } from './real-cluster.js';
import { requires } from './requires.js';

const START_DEADLINE_MS = 60_000;
const VIRSH_DEADLINE_MS = 120_000;
const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;
const LOG_TAIL_LINES = 15;
const PID_FILE = '/run/libvirt/libvirtd.pid';

/**
 * The first process of the namespace. It must be one that waits for children it never had: QEMU becomes its child, and
 * libvirt takes one that nobody waited for to be alive.
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
mount --bind "$root/etc" /etc/libvirt
for accounts in passwd group; do
  mount --bind "$root/$accounts" "/etc/$accounts"
done
touch "$root/ready"
while :; do
  sleep 1000 &
  wait
done
`;

export interface LibvirtdOptions {
  /** The host's name, and part of its folder's. */
  readonly name: string;
  /** Folders of the machine by the names they have in the host's /run: doors of the sheep that is its own. */
  readonly runFolders?: Readonly<Record<string, string>>;
  /** Another program in place of the machine's libvirtd, with the same options: one of 7.0, virtqemud, virtstoraged. */
  readonly program?: string;
  /** For the daemon, beside the test's own variables. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What became of a `virsh` that ended. */
export interface VirshResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Libvirtd {
  private constructor(
    private readonly options: LibvirtdOptions,
    /** Of this host alone; files in it are seen by the test as well. */
    readonly folder: string,
    private readonly maker: ChildProcess,
    private readonly firstPid: number,
  ) {}

  /** Makes the host and starts its daemon; resolves when that answers. */
  static async start(options: LibvirtdOptions): Promise<Libvirtd> {
    const { name, runFolders = {} } = options;
    const folder = mkdtempSync(join(tmpdir(), `sheepfold-${name}-`));
    prepareFolder(folder, Object.keys(runFolders));
    const maker = ownedProcess(
      spawn(
        'unshare',
        [
          ...[
            '--mount',
            '--uts',
            '--pid',
            '--fork',
            '--kill-child',
            '--mount-proc',
            '--propagation',
            'private',
          ],
          ...['bash', '-c', FIRST_PROCESS, 'host', folder, name, ...Object.entries(runFolders).flat()],
        ],
        { stdio: ['ignore', 'ignore', 'pipe'] },
      ),
    );
    let complaints = '';
    maker.stderr?.on('data', (chunk: Buffer) => (complaints += chunk));
    try {
      await within(START_DEADLINE_MS, `the host ${name} is made`, () => {
        return maker.exitCode !== null || existsSync(join(folder, 'ready'));
      });
      if (maker.exitCode !== null) throw new Error(`the host ${name} cannot be made: ${complaints}`);
      const libvirtd = new Libvirtd(options, folder, maker, onlyChildOf(maker.pid!));
      await libvirtd.startDaemon();
      return libvirtd;
    } catch (error) {
      await endSpace(maker);
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  get name(): string {
    return this.options.name;
  }

  /** The daemon's, seen from the machine; with `-ro` behind it the one for reading. */
  get socket(): string {
    // libvirtd's alone is not named after its program.
    const name = basename(this.program) === 'libvirtd' ? 'libvirt' : basename(this.program);
    return join(this.folder, `run/libvirt/${name}-sock`);
  }

  private get program(): string {
    return this.options.program ?? 'libvirtd';
  }

  private get storageAlone(): boolean {
    return basename(this.program) === 'virtstoraged';
  }

  /** For `virsh -c`, from anywhere on this machine. */
  get uri(): string {
    return `${this.storageAlone ? 'storage' : 'qemu'}+unix:///system?socket=${this.socket}`;
  }

  /** Its process namespace, as /proc/PID/ns/pid names it. */
  get space(): string {
    return readlinkSync(`/proc/${this.firstPid}/ns/pid`);
  }

  /** The last lines of the daemon's log. */
  get log(): string {
    const file = join(this.folder, 'var/log/libvirt/libvirtd.log');
    return existsSync(file)
      ? readFileSync(file, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n')
      : '';
  }

  /** What QEMU itself wrote about a guest: its command line, warnings, its end. */
  guestLog(guest: string): string {
    const file = join(this.folder, `var/log/libvirt/qemu/${guest}.log`);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /** Starts the daemon, for the first time or after `kill`: guests that run are found again. */
  async startDaemon(): Promise<void> {
    const words = ['--daemon', '--pid-file', PID_FILE, '--config', '/etc/libvirt/libvirtd.conf'];
    this.inside(this.program, ...words);
    await within(START_DEADLINE_MS, `libvirtd of ${this.name} answers`, async () => {
      const { code, stderr } = await this.virsh(this.storageAlone ? 'pool-list' : 'version');
      if (code !== 0) throw new Error(stderr);
      return true;
    });
  }

  /** Kills the daemon; its guests run on. */
  killDaemon(signal: 'TERM' | 'KILL' = 'KILL'): void {
    const pid = readFileSync(join(this.folder, PID_FILE), 'utf8').trim();
    this.inside('kill', `-${signal}`, pid);
  }

  /** Has the daemon look for hooks anew. */
  reloadDaemon(): void {
    this.inside('kill', '-HUP', readFileSync(join(this.folder, PID_FILE), 'utf8').trim());
  }

  /** Runs virsh against this host, with its exit code and output; rejects only when it does not end in time. */
  virsh(...words: string[]): Promise<VirshResult> {
    const options = {
      timeout: VIRSH_DEADLINE_MS,
      maxBuffer: OUTPUT_BYTES_MAX,
      killSignal: 'SIGKILL' as const,
    };
    return new Promise((resolve, reject) => {
      const child = execFile('virsh', ['-q', '-c', this.uri, ...words], options, (error, stdout, stderr) => {
        if (error?.killed) reject(new Error(`virsh ${words.join(' ')} does not end\n${stdout}${stderr}`));
        else resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
      });
      ownedProcess(child);
    });
  }

  /** Output of a virsh that must succeed. */
  async mustVirsh(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.virsh(...words);
    if (code !== 0)
      throw new Error(`${this.name}: virsh ${words.join(' ')}: exit ${code}\n${stderr}${stdout}`);
    return stdout.trim();
  }

  /** The daemon's own, as it says: `9.0.0`. */
  async version(): Promise<string> {
    const said = await this.mustVirsh('version', '--daemon');
    const [, version] = /^Running against daemon: (\S+)$/m.exec(said) ?? [];
    if (version === undefined) throw new Error(`${this.name}: no version of the daemon in: ${said}`);
    return version;
  }

  /** Writes a file that virsh can be given; its path. */
  file(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  /** Ends the daemon, its guests and the host, at once, and removes its files. */
  async stop(): Promise<void> {
    await endSpace(this.maker);
    rmSync(this.folder, { recursive: true, force: true });
  }

  private inside(program: string, ...words: string[]): void {
    const namespaces = ['-t', String(this.firstPid), '-m', '-u', '-p'];
    const { status, stderr } = spawnSync('nsenter', [...namespaces, program, ...words], {
      encoding: 'utf8',
      env: { ...process.env, ...this.options.env },
    });
    if (status !== 0)
      throw new Error(`${this.name}: ${program} ${words.join(' ')}: exit ${status}\n${stderr}`);
  }
}

/**
 * Runs a test body with hosts; the logs of all are part of a failure, and nothing is left behind. The hosts outlive
 * nothing that the body waits for, so it brings its own deadlines.
 */
export async function withLibvirtds(
  options: readonly LibvirtdOptions[],
  body: (...hosts: Libvirtd[]) => Promise<void>,
): Promise<void> {
  const hosts: Libvirtd[] = [];
  try {
    for (const one of options) hosts.push(await Libvirtd.start(one));
    await body(...hosts);
  } catch (error) {
    for (const host of hosts) process.stderr.write(`--- libvirtd of ${host.name}\n${host.log}\n`);
    throw error;
  } finally {
    await Promise.all(hosts.map((host) => host.stop()));
  }
}

type Test = Parameters<typeof requires>[0];

/** `test`, or a skip by name where no such host can be made: it takes root, libvirt's daemon and QEMU. */
export function requiresLibvirtd(test: Test, ...tools: string[]): Test {
  const able = requires(
    test,
    'libvirtd',
    'virsh',
    'qemu-system-x86_64',
    'unshare',
    'nsenter',
    'bash',
    ...tools,
  );
  if (able !== test) return able;
  // Namespaces may be forbidden, also to root, and /etc/libvirt must be there to be covered.
  const probe = ['--mount', '--uts', '--pid', '--fork', '--mount-proc', 'test', '-d', '/etc/libvirt'];
  if (spawnSync('unshare', probe, { stdio: 'ignore' }).status === 0) return test;
  return requires(test, 'unshare --mount --uts --pid');
}

/** What is private to a host, before it is there. */
function prepareFolder(folder: string, runFolders: readonly string[]): void {
  const inVar = ['lib', 'cache', 'log'].map((name) => `var/${name}/libvirt`);
  for (const path of [
    'run/libvirt',
    ...runFolders.map((name) => `run/${name}`),
    'var/tmp',
    'etc',
    ...inVar,
  ]) {
    mkdirSync(join(folder, path), { recursive: true });
  }
  symlinkSync('/run', join(folder, 'var/run'));
  // Without this account, which only a full installation makes, the driver does not start, whomever it is told to use.
  for (const [file, rest] of [
    ['passwd', '64055:64055::/:/usr/sbin/nologin'],
    ['group', '64055:'],
  ] as const) {
    const known = readFileSync(join('/etc', file), 'utf8').trimEnd().split('\n');
    const kept = known.filter((line) => !line.startsWith('libvirt-qemu:'));
    writeFileSync(join(folder, file), `${[...kept, `libvirt-qemu:x:${rest}`].join('\n')}\n`);
  }
  const etc = (name: string, lines: string[]) =>
    writeFileSync(join(folder, 'etc', name), `${lines.join('\n')}\n`);
  etc('libvirtd.conf', [
    'unix_sock_dir = "/run/libvirt"',
    'auth_unix_ro = "none"',
    'auth_unix_rw = "none"',
    `host_uuid = "${randomUUID()}"`,
    'log_outputs = "3:file:/var/log/libvirt/libvirtd.log"',
  ]);
  etc('qemu.conf', [
    'user = "root"',
    'group = "root"',
    'dynamic_ownership = 0',
    'security_driver = "none"',
    // No virtlogd.
    'stdio_handler = "file"',
    // Nothing of the machine's control groups and device nodes is touched.
    'cgroup_controllers = [ ]',
    'namespaces = [ ]',
  ]);
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
