import { parseUri } from './uri.js';

/**
 * What QEMU 5.2 took as the name of a Sheepdog image (protocol reference, 6.10), with its rules and its complaints.
 * Pure: nobody is asked whether the image exists.
 */
export type SheepServer =
  | { readonly host: string; readonly port: number }
  /** A unix socket. */
  | { readonly path: string };

export interface ImageName {
  readonly server: SheepServer;
  readonly vdi: string;
  /** 0: none. With tag too, either may match, as the sheep of old did it. */
  readonly snapId: number;
  /** '' for none. */
  readonly tag: string;
}

/** A name that cannot be taken, in QEMU's words. */
export class NameError extends Error {
  override readonly name = 'NameError';
}

export const HOST_DEFAULT = 'localhost';
export const PORT_DEFAULT = 7000;
const TEXT_BYTES_MAX = 255;
const SNAP_ID_MAX = 0xffffffff;

/** Whether QEMU 5.2 would have given this file name to its sheepdog driver. */
export function isImageName(text: string): boolean {
  return /^sheepdog(\+tcp|\+unix)?:/.test(text);
}

/** Rejects with NameError. */
export function parseImageName(text: string): ImageName {
  if (text.includes('://')) return parseUriName(text);
  try {
    return parseUriName(oldStyleUri(text));
  } catch (error) {
    if (!(error instanceof NameError)) throw error;
    // What is wrong with a URI that nobody wrote would mislead.
    throw new NameError("Can't parse filename");
  }
}

/** `[HOST:PORT:]VDI[:SNAPSHOT]` as a URI, unescaped: names with `?`, `#` or `%` never worked in this form. */
function oldStyleUri(text: string): string {
  const words = text.replace(/^sheepdog:/, '').split(':');
  const server = words.length > 2 ? words.splice(0, 2).join(':') : '';
  const vdi = words.shift()!;
  return `sheepdog://${server}/${vdi}${words.length === 0 ? '' : `#${words.join(':')}`}`;
}

function parseUriName(text: string): ImageName {
  const uri = parseUri(text);
  if (uri === undefined) throw new NameError(`invalid URI '${text}'`);
  const { scheme } = uri;
  if (!['sheepdog', 'sheepdog+tcp', 'sheepdog+unix'].includes(scheme)) {
    throw new NameError("URI scheme must be 'sheepdog', 'sheepdog+tcp', or 'sheepdog+unix'");
  }
  if (uri.path === '' || uri.path === '/') throw new NameError('missing file path in URI');
  const vdi = uri.path.slice(1);
  if (Buffer.byteLength(vdi) > TEXT_BYTES_MAX) throw new NameError('VDI name is too long');
  const server = scheme === 'sheepdog+unix' ? unixServer(uri) : tcpServer(uri);
  const snapshot = parseSnapshot(uri.fragment ?? '');
  if (snapshot === undefined) throw new NameError(`'${uri.fragment}' is not a valid snapshot ID`);
  return { server, vdi, ...snapshot };
}

type ParsedUri = NonNullable<ReturnType<typeof parseUri>>;

function unixServer(uri: ParsedUri): SheepServer {
  if (uri.host !== '' || uri.port !== 0) {
    throw new NameError(`URI scheme ${uri.scheme} doesn't accept a server address`);
  }
  if (uri.query.length === 0) {
    throw new NameError(`URI scheme ${uri.scheme} requires query parameter 'socket'`);
  }
  const [name, path] = uri.query[0]!;
  if (uri.query.length > 1 || name !== 'socket') throw new NameError('unexpected query parameters');
  return { path };
}

function tcpServer(uri: ParsedUri): SheepServer {
  if (uri.query.length > 0) throw new NameError('unexpected query parameters');
  return { host: uri.host === '' ? HOST_DEFAULT : uri.host, port: uri.port === 0 ? PORT_DEFAULT : uri.port };
}

/** All digits: a snapshot id, 1 to 2^32 - 1; anything else: a tag. Undefined when it can be neither. */
export function parseSnapshot(text: string): { snapId: number; tag: string } | undefined {
  if (/^\s*[+-]?\d+$/.test(text)) {
    const snapId = Number(text);
    return snapId >= 1 && snapId <= SNAP_ID_MAX ? { snapId, tag: '' } : undefined;
  }
  return Buffer.byteLength(text) > TEXT_BYTES_MAX ? undefined : { snapId: 0, tag: text };
}

/** From the structured form's parameters, whose values may be text or numbers. Rejects with NameError. */
export function imageNameOf(parameters: ReadonlyMap<string, unknown>): ImageName {
  const server = structuredServer(parameters);
  const vdi = parameters.get('vdi');
  if (vdi === undefined) throw new NameError("parameter 'vdi' is missing");
  if (Buffer.byteLength(String(vdi)) > TEXT_BYTES_MAX) {
    throw new NameError("value of parameter 'vdi' is too long");
  }
  const idText = parameters.get('snap-id');
  const snapId = idText === undefined ? 0 : Number(idText);
  if (idText !== undefined && !(Number.isInteger(snapId) && snapId >= 1 && snapId <= SNAP_ID_MAX)) {
    throw new NameError(`'snap-id=${idText}' is not a valid snapshot ID`);
  }
  const tag = String(parameters.get('tag') ?? '');
  if (Buffer.byteLength(tag) > TEXT_BYTES_MAX) throw new NameError("value of parameter 'tag' is too long");
  return { server, vdi: String(vdi), snapId, tag };
}

function structuredServer(parameters: ReadonlyMap<string, unknown>): SheepServer {
  const field = (name: string): string => {
    const value = parameters.get(`server.${name}`);
    if (value === undefined) throw new NameError(`Parameter '${name}' is missing`);
    return String(value);
  };
  const type = field('type');
  if (type === 'unix') return { path: field('path') };
  if (type !== 'inet') throw new NameError(`Invalid parameter '${type}'`);
  const port = Number(field('port'));
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new NameError(`address resolution failed for ${field('host')}:${field('port')}`);
  }
  return { host: field('host'), port };
}

export function serverText(server: SheepServer): string {
  return 'path' in server ? server.path : `${server.host}:${server.port}`;
}
