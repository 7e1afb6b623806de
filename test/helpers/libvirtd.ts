/**
 * A hypervisor of a test's own: libvirtd on a private host, beside others and beside the machine's, so that guests
 * migrate between them.
 */
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { PrivateHost, type PrivateHostOptions, type RunResult, runWords } from './private-host.js';
import { within } from './real-cluster.js';
import { requires } from './requires.js';

const START_DEADLINE_MS = 60_000;
const LOG_TAIL_LINES = 15;
const PID_FILE = '/run/libvirt/libvirtd.pid';

/** Folders that the daemon wants to be there. */
export const libvirtFolders = [
  'run/libvirt',
  ...['lib', 'cache', 'log'].map((name) => `var/${name}/libvirt`),
];

export interface LibvirtdOptions extends Pick<PrivateHostOptions, 'name' | 'runFolders'> {
  /** Another program in place of the machine's libvirtd, with the same options: one of 7.0, virtqemud, virtstoraged. */
  readonly program?: string;
  /** For the daemon, beside the test's own variables. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What became of a `virsh` that ended. */
export type VirshResult = RunResult;

export class Libvirtd {
  private constructor(
    private readonly host: PrivateHost,
    private readonly options: LibvirtdOptions,
  ) {}

  /** Makes the host and starts its daemon; resolves when that answers. */
  static async start(options: LibvirtdOptions): Promise<Libvirtd> {
    const host = await PrivateHost.make({ ...options, etc: libvirtFiles(), folders: libvirtFolders });
    const libvirtd = new Libvirtd(host, options);
    try {
      await libvirtd.startDaemon();
      return libvirtd;
    } catch (error) {
      await host.stop();
      throw error;
    }
  }

  get name(): string {
    return this.host.name;
  }

  /** Of this host alone; files in it are seen by the test as well. */
  get folder(): string {
    return this.host.folder;
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
    return this.host.space;
  }

  /** The last lines of the daemon's log. */
  get log(): string {
    const lines = this.host.read('var/log/libvirt/libvirtd.log').trimEnd().split('\n');
    return lines.slice(-LOG_TAIL_LINES).join('\n');
  }

  /** What QEMU itself wrote about a guest: its command line, warnings, its end. */
  guestLog(guest: string): string {
    return this.host.read(`var/log/libvirt/qemu/${guest}.log`);
  }

  /** Starts the daemon, for the first time or after `kill`: guests that run are found again. */
  async startDaemon(): Promise<void> {
    const words = ['--daemon', '--pid-file', PID_FILE, '--config', '/etc/libvirt/libvirtd.conf'];
    const env = Object.entries(this.options.env ?? {}).map(([name, value]) => `${name}=${value}`);
    this.host.inside('env', ...env, this.program, ...words);
    await within(START_DEADLINE_MS, `libvirtd of ${this.name} answers`, async () => {
      const { code, stderr } = await this.virsh(this.storageAlone ? 'pool-list' : 'version');
      if (code !== 0) throw new Error(stderr);
      return true;
    });
  }

  /** Kills the daemon; its guests run on. */
  killDaemon(signal: 'TERM' | 'KILL' = 'KILL'): void {
    this.signalDaemon(signal);
  }

  /** Kills the QEMU of a guest, also of one that is still on its way here. */
  killGuest(name: string): void {
    const pid = readFileSync(join(this.folder, 'run/libvirt/qemu', `${name}.pid`), 'utf8').trim();
    this.host.inside('kill', '-KILL', pid);
  }

  /** Has the daemon look for hooks anew. */
  reloadDaemon(): void {
    this.signalDaemon('HUP');
  }

  /** Runs virsh against this host, with its exit code and output; rejects only when it does not end in time. */
  virsh(...words: string[]): Promise<VirshResult> {
    return runWords(['virsh', '-q', '-c', this.uri, ...words]);
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
    return this.host.file(name, text);
  }

  /** Ends the daemon, its guests and the host, at once, and removes its files. */
  async stop(): Promise<void> {
    await this.host.stop();
  }

  private signalDaemon(signal: string): void {
    this.host.inside('kill', `-${signal}`, readFileSync(join(this.folder, PID_FILE), 'utf8').trim());
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

/** What libvirtd reads on a private host, as root and without anything of the machine's. */
export function libvirtFiles(): Record<string, string> {
  const lines = (...all: string[]) => `${all.join('\n')}\n`;
  return {
    // Without this account, which only a full installation makes, the driver does not start, whomever it is to use.
    passwd: withAccount('passwd', '64055:64055::/:/usr/sbin/nologin'),
    group: withAccount('group', '64055:'),
    'libvirt/libvirtd.conf': lines(
      'unix_sock_dir = "/run/libvirt"',
      'auth_unix_ro = "none"',
      'auth_unix_rw = "none"',
      `host_uuid = "${randomUUID()}"`,
      'log_outputs = "3:file:/var/log/libvirt/libvirtd.log"',
    ),
    'libvirt/qemu.conf': lines(
      'user = "root"',
      'group = "root"',
      'dynamic_ownership = 0',
      'security_driver = "none"',
      // No virtlogd.
      'stdio_handler = "file"',
      // Nothing of the machine's control groups and device nodes is touched.
      'cgroup_controllers = [ ]',
      'namespaces = [ ]',
    ),
  };
}

function withAccount(file: string, rest: string): string {
  const known = readFileSync(join('/etc', file), 'utf8').trimEnd().split('\n');
  const kept = known.filter((line) => !line.startsWith('libvirt-qemu:'));
  return `${[...kept, `libvirt-qemu:x:${rest}`].join('\n')}\n`;
}
