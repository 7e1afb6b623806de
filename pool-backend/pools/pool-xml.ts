import { randomUUID } from 'node:crypto';
import { LibvirtError } from '../rpc/errors.js';
import { normalNamespace } from './names.js';
import { readXml, type XmlElement } from './xml-reader.js';
import { element, formatXml } from './xml-text.js';

/** The type of pools that are served here; every other type is somebody else's. */
export const POOL_TYPE = 'sheepdog';
export const DEFAULT_PORT = 7000;

/** What somebody defined: a cluster by one of its sheep, and a namespace in it ('' for what is outside of all). */
export interface PoolDefinition {
  readonly name: string;
  readonly uuid: string;
  readonly host: string;
  readonly port: number;
  readonly namespace: string;
  /** A directory in which the cluster's volumes are files, because something mounts it there. */
  readonly targetPath?: string;
}

export interface PoolFigures {
  readonly capacity: bigint;
  readonly allocation: bigint;
  readonly available: bigint;
}

export const noFigures: PoolFigures = { capacity: 0n, allocation: 0n, available: 0n };

const NAME_BYTES_MAX = 200;
const HOST_BYTES_MAX = 255;
const PATH_BYTES_MAX = 4000;

/** The value of the type attribute, for whoever has to decide whose the pool is. Rejects with LibvirtError 'xml'. */
export async function poolTypeOf(xml: string): Promise<string> {
  return typeOf(await readXml(xml, 'pool'));
}

/** Name and uuid of any pool's definition, as far as they are given. Rejects with LibvirtError 'xml'. */
export async function poolIdentityOf(xml: string): Promise<{ name?: string; uuid?: string }> {
  const root = await readXml(xml, 'pool');
  const name = root.textOf('name');
  const uuid = root.textOf('uuid');
  return { ...(name && { name }), ...(uuid && { uuid: checkUuid(uuid) }) };
}

/** A definition without a uuid gets one. Rejects with LibvirtError 'xml', saying what is missing or wrong. */
export async function parsePool(xml: string): Promise<PoolDefinition> {
  const root = await readXml(xml, 'pool');
  const type = typeOf(root);
  if (type !== POOL_TYPE) throw new LibvirtError('internal', `missing backend for pool type (${type})`);
  const uuid = root.textOf('uuid');
  const targetPath = root.textOf('target', 'path') ?? '';
  return {
    name: checkName(root.textOf('name')),
    uuid: uuid === undefined || uuid === '' ? randomUUID() : checkUuid(uuid),
    ...parseHost(root),
    namespace: normalNamespace(root.textOf('source', 'name') ?? ''),
    ...(targetPath !== '' && { targetPath: checkPath(targetPath) }),
  };
}

/** As `virsh pool-dumpxml` shows it; without figures, what is stored. */
export function formatPool(pool: PoolDefinition, figures: PoolFigures = noFigures): string {
  const bytes = (name: keyof PoolFigures) => element(name, { unit: 'bytes' }, figures[name]);
  return formatXml(
    element('pool', { type: POOL_TYPE }, [
      element('name', undefined, pool.name),
      element('uuid', undefined, pool.uuid),
      bytes('capacity'),
      bytes('allocation'),
      bytes('available'),
      element('source', undefined, [
        element('host', { name: pool.host, port: pool.port }),
        // The schema of libvirt wants a name here; this one is no namespace's.
        element('name', undefined, pool.namespace === '' ? '/' : pool.namespace),
      ]),
      pool.targetPath === undefined
        ? undefined
        : element('target', undefined, [element('path', undefined, pool.targetPath)]),
    ]),
  );
}

function typeOf(root: XmlElement): string {
  const type = root.attribute('type');
  if (type === undefined) throw new LibvirtError('xml', 'storage pool missing type attribute');
  return type;
}

function checkName(name = ''): string {
  if (name === '') throw new LibvirtError('xml', 'missing pool source name element');
  if (name.includes('/')) throw new LibvirtError('xml', `name ${name} cannot contain '/'`);
  // It names files: the definition, its state, the mark that says autostart.
  if (name === '.' || name === '..' || /\p{Cc}/u.test(name)) {
    throw new LibvirtError('xml', `name ${JSON.stringify(name)} is no name for a pool`);
  }
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw new LibvirtError('xml', `the name of the pool is longer than ${NAME_BYTES_MAX} bytes`);
  }
  return name;
}

function checkUuid(text: string): string {
  const hex = text.replaceAll('-', '').toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(hex)) throw new LibvirtError('xml', 'malformed uuid element');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function parseHost(root: XmlElement): { host: string; port: number } {
  const hosts = root.find('source')?.children('host') ?? [];
  const [only] = hosts;
  if (only === undefined) throw new LibvirtError('xml', 'missing storage pool source host name');
  if (hosts.length > 1) throw new LibvirtError('xml', 'Expected exactly 1 host for the storage pool');
  const host = only.attribute('name') ?? '';
  if (host === '' || Buffer.byteLength(host) > HOST_BYTES_MAX || /[\s\p{Cc}/]/u.test(host)) {
    throw new LibvirtError('xml', 'missing storage pool source host name');
  }
  return { host, port: parsePort(only.attribute('port')) };
}

/** 0 is what libvirt's own parser makes of a port that is not there. */
function parsePort(text: string | undefined): number {
  if (text === undefined || text === '0') return DEFAULT_PORT;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new LibvirtError('xml', `Invalid port number: ${text}`);
  return port;
}

function checkPath(path: string): string {
  if (!path.startsWith('/') || Buffer.byteLength(path) > PATH_BYTES_MAX || /\p{Cc}/u.test(path)) {
    throw new LibvirtError('xml', 'the target path must be absolute');
  }
  return path.replace(/\/+/g, '/').replace(/(?<=.)\/$/, '');
}
