import type { NodeDoors, VdiInfo } from '../control/api.js';
import { localNbdSocket } from '../control/local-door.js';
import { HOST_DEFAULT, type SheepServer } from './name.js';
import { ToolError } from './tool-error.js';

/**
 * Where the real tool finds a volume: an export of the sheep that was named. The unix socket is taken when the sheep is
 * on this host, as it is faster; the name that a user wrote decides which host that is.
 */
export type NbdServer = { readonly host: string; readonly port: number } | { readonly path: string };

export interface NbdExport {
  readonly server: NbdServer;
  /** `vol`, or `vol@ID`. */
  readonly name: string;
}

/** The original's driver asked for ever; a tool that nobody watches should give up some day. */
export const RECONNECT_DELAY_S = 600;

export function exportOf(server: SheepServer, doors: NodeDoors, vdi: VdiInfo): NbdExport {
  return {
    server: serverOf(server, doors),
    name: vdi.snapshot ? `${vdi.name}@${vdi.snapId}` : vdi.name,
  };
}

function serverOf(server: SheepServer, doors: NodeDoors): NbdServer {
  const local = 'path' in server || isLoopback(server.host);
  const path = local ? localNbdSocket(doors) : undefined;
  if (path !== undefined) return { path };
  if (doors.nbdPort > 0) {
    return { host: 'path' in server ? '127.0.0.1' : server.host, port: doors.nbdPort };
  }
  throw new ToolError('the sheep has no NBD door that can be reached from here: start it with --nbd-port');
}

function isLoopback(host: string): boolean {
  return host === HOST_DEFAULT || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** The options of QEMU's nbd driver, flat: `server.type`, `export`, ... */
export function nbdOptions(from: NbdExport, tlsCreds?: string): [string, string][] {
  const { server } = from;
  const where: [string, string][] =
    'path' in server
      ? [
          ['server.type', 'unix'],
          ['server.path', server.path],
        ]
      : [
          ['server.type', 'inet'],
          ['server.host', server.host],
          ['server.port', String(server.port)],
        ];
  return [
    ['driver', 'nbd'],
    ...where,
    ['export', from.name],
    ['reconnect-delay', String(RECONNECT_DELAY_S)],
    ...(tlsCreds === undefined ? [] : ([['tls-creds', tlsCreds]] as [string, string][])),
  ];
}

/** The same place for commands that take no structured names. */
export function nbdUrl(from: NbdExport): string {
  return urlOf(from, encodeURIComponent(from.name));
}

/** The same place as QEMU prints it. */
export function printedNbdUrl(from: NbdExport): string {
  return urlOf(from, from.name);
}

function urlOf({ server }: NbdExport, name: string): string {
  if ('path' in server) return `nbd+unix:///${name}?socket=${server.path}`;
  const host = server.host.includes(':') ? `[${server.host}]` : server.host;
  return `nbd://${host}:${server.port}/${name}`;
}
