import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AppError } from '../src/base/errors.js';

export interface InstallOptions {
  /** Directory that stands for the root of the host; other than `/`, no unit is reloaded or started. */
  readonly root: string;
  /** Whether a virtstoraged is there that keeps the other pools. */
  readonly upstream: boolean;
  /** The program that the unit starts. */
  readonly program: string;
}

const UNITS = '/etc/systemd/system';
const UNIT = 'sheepfold-pools.service';
const PLACE = '/run/libvirt';
/** Where virtstoraged listens instead. */
const ASIDE = '/run/libvirt/virtstoraged-aside';
const MARK = '# Written by `sheepfold-pools install`; `sheepfold-pools uninstall` removes it.\n';

const sockets = [
  { unit: 'virtstoraged.socket', name: 'virtstoraged-sock' },
  { unit: 'virtstoraged-ro.socket', name: 'virtstoraged-sock-ro' },
] as const;

/** The files, by path: the unit, and for each socket of virtstoraged a drop-in that moves it aside. */
function filesOf(options: InstallOptions): Map<string, string> {
  const files = new Map([[join(UNITS, UNIT), unitText(options)]]);
  if (!options.upstream) return files;
  for (const { unit, name } of sockets) {
    files.set(dropIn(unit), `${MARK}[Socket]\nListenStream=\nListenStream=${ASIDE}/${name}\n`);
  }
  return files;
}

const dropIn = (unit: string): string => join(UNITS, `${unit}.d`, 'sheepfold-pools.conf');

/**
 * libvirt's own sockets let everybody connect and ask polkit then; without polkit the mode has to decide: root, and the
 * group whose members polkit lets manage libvirt.
 */
const GROUP = 'libvirt';
const accessWords = (hasGroup: boolean): string =>
  hasGroup ? `--socket-mode 0660 --group ${GROUP}` : '--socket-mode 0600';

function unitText({ program, upstream, root }: InstallOptions): string {
  const groups = join(root, '/etc/group');
  const hasGroup = existsSync(groups) && new RegExp(`^${GROUP}:`, 'm').test(readFileSync(groups, 'utf8'));
  const [main, readOnly] = sockets.map(({ name }) => name);
  const words = [
    `--socket ${PLACE}/${main} ${accessWords(hasGroup)}`,
    `--readonly-socket ${PLACE}/${readOnly} --readonly-mode 0666`,
    ...(upstream ? [`--upstream ${ASIDE}/${main} --upstream-readonly ${ASIDE}/${readOnly}`] : []),
  ];
  const after = ['network-online.target', ...(upstream ? sockets.map(({ unit }) => unit) : [])];
  return `${MARK}[Unit]
Description=Storage pools of sheepfold clusters for libvirt
After=${after.join(' ')}
Wants=${after.join(' ')}

[Service]
ExecStart=${process.execPath} ${program} serve ${words.join(' ')}
Restart=on-failure

[Install]
WantedBy=multi-user.target
`;
}

/**
 * Takes virtstoraged's place on a host of modular daemons: its sockets move aside by drop-ins, ours stand where clients
 * look. Returns what was changed, a line each. Throws AppError 'exists' rather than replace a file that is not ours.
 */
export function install(options: InstallOptions): string[] {
  const files = filesOf(options);
  for (const path of files.keys()) refuseForeign(join(options.root, path));
  const told: string[] = [];
  for (const [path, text] of files) {
    const target = join(options.root, path);
    const verb = existsSync(target) ? 'replaced' : 'wrote';
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
    told.push(`${verb} ${target}`);
  }
  if (options.root !== '/') return [...told, 'no unit was reloaded: this is not the root of the host'];
  told.push(systemctl('daemon-reload'));
  if (options.upstream) {
    told.push(systemctl('stop', 'virtstoraged.service'));
    for (const { unit } of sockets) told.push(systemctl('restart', unit));
  }
  told.push(systemctl('enable', '--now', UNIT));
  return told;
}

/** Takes back what install did, and nothing else. Returns what was changed, a line each. */
export function uninstall({ root }: Pick<InstallOptions, 'root'>): string[] {
  const paths = [join(UNITS, UNIT), ...sockets.map(({ unit }) => dropIn(unit))];
  const found = paths.map((path) => join(root, path)).filter((path) => existsSync(path));
  if (found.length === 0) return ['nothing is installed'];
  for (const path of found) refuseForeign(path);
  const told: string[] = [];
  const moved = found.some((path) => path.endsWith('.conf'));
  if (root === '/') told.push(systemctl('disable', '--now', UNIT));
  for (const path of found) {
    rmSync(path);
    told.push(`removed ${path}`);
    if (path.endsWith('.conf')) removeEmpty(dirname(path));
  }
  if (root !== '/') return [...told, 'no unit was reloaded: this is not the root of the host'];
  told.push(systemctl('daemon-reload'));
  if (moved) {
    told.push(systemctl('stop', 'virtstoraged.service'));
    for (const { unit } of sockets) told.push(systemctl('restart', unit));
  }
  return told;
}

function refuseForeign(path: string): void {
  if (existsSync(path) && !readFileSync(path, 'utf8').startsWith(MARK)) {
    throw new AppError('exists', `${path} is there and was not written by this command: nothing was changed`);
  }
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Somebody else has drop-ins there.
  }
}

function systemctl(...words: string[]): string {
  const line = `systemctl ${words.join(' ')}`;
  try {
    execFileSync('systemctl', words, { stdio: ['ignore', 'ignore', 'pipe'] });
    return `ran ${line}`;
  } catch (error) {
    const { stderr, message } = error as { stderr?: Buffer; message: string };
    return `FAILED ${line}: ${stderr?.toString().trim() || message}`;
  }
}
