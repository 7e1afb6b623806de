import { parseStringPromise } from 'xml2js';
import { AppError } from '../base/errors.js';

/** libvirt takes no longer text for one domain. */
export const DOMAIN_XML_BYTES_MAX = 4 * 1024 * 1024;

/**
 * An element as xml2js gives it, of which we read attributes, text and children by name; never arrays of a single
 * kind. A class of its own keeps the library's shape in this file.
 */
export class Element {
  constructor(private readonly node: unknown) {}

  attribute(name: string): string | undefined {
    const attributes = (this.node as { $?: Record<string, string> } | undefined)?.$;
    // A name like `constructor` must not find what every object has.
    return attributes !== undefined && Object.hasOwn(attributes, name) ? attributes[name] : undefined;
  }

  get text(): string {
    if (typeof this.node === 'string') return this.node;
    return (this.node as { _?: string } | undefined)?._ ?? '';
  }

  all(name: string): Element[] {
    const { node } = this;
    if (typeof node !== 'object' || node === null || !Object.hasOwn(node, name)) return [];
    const children = (node as Record<string, unknown>)[name];
    return Array.isArray(children) ? children.map((child) => new Element(child)) : [];
  }

  first(name: string): Element | undefined {
    return this.all(name)[0];
  }
}

/**
 * Parses XML that came from libvirt or a user. Document types are refused, and with them all entities but XML's own
 * five: libvirt writes none. Rejects with AppError 'invalid'.
 */
export async function parseXml(xml: string, rootName: string): Promise<Element> {
  if (Buffer.byteLength(xml) > DOMAIN_XML_BYTES_MAX) throw new AppError('invalid', 'the XML is too long');
  if (/<!(DOCTYPE|ENTITY)/i.test(xml)) throw new AppError('invalid', 'the XML has a document type');
  let parsed: unknown;
  try {
    parsed = await parseStringPromise(xml, { strict: true, explicitArray: true, async: false });
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    throw new AppError('invalid', `the XML cannot be read: ${reason}`, { cause: error });
  }
  const root = new Element({
    root: Object.hasOwn(Object(parsed), rootName) ? [Object(parsed)[rootName]] : [],
  });
  const element = root.first('root');
  if (element === undefined) throw new AppError('invalid', `the XML is not of a ${rootName}`);
  return element;
}

/** Where QEMU finds an NBD export. */
export type NbdPlace = { readonly socket: string } | { readonly host: string; readonly port: number };

/** One disk that is an NBD export: a volume of ours if its place is a door of ours (`isSamePlace`). */
export interface NbdDisk {
  /** `vda`: the name by which libvirt's commands know the disk. */
  readonly target: string;
  readonly bus: string | undefined;
  /** `disk`, `cdrom`, ... */
  readonly device: string;
  /** `vol`, or `vol@tag`. */
  readonly exportName: string;
  readonly place: NbdPlace;
  readonly tls: boolean;
  readonly readOnly: boolean;
  /** Attributes of `<driver>`: type, cache, discard, detect_zeroes, ... */
  readonly driver: Readonly<Record<string, string | undefined>>;
  /** Seconds that QEMU waits for a server that is away; undefined: not asked for. */
  readonly reconnectDelayS: number | undefined;
  /** The device's name in QEMU; only while the domain runs, or when a user chose it (`ua-...`). */
  readonly alias: string | undefined;
  /** The number in the names of its block nodes (`libvirt-2-storage`); only while the domain runs. */
  readonly sourceIndex: number | undefined;
  /** The element as it stands in the domain, for what is not told here. */
  readonly element: Element;
}

export interface Domain {
  readonly name: string;
  readonly uuid: string | undefined;
  /** Targets of all disks. */
  readonly targets: readonly string[];
  readonly nbdDisks: readonly NbdDisk[];
  /** It has I/O threads, whether disks use them or not. */
  readonly iothreads: boolean;
}

const NBD_PORT_DEFAULT = 10809;

/** Reads a domain as `virsh dumpxml` prints it. Rejects with AppError 'invalid'. */
export async function parseDomain(xml: string): Promise<Domain> {
  const root = await parseXml(xml, 'domain');
  const disks = root.first('devices')?.all('disk') ?? [];
  const targets = disks.map((disk) => disk.first('target')?.attribute('dev') ?? '');
  return {
    name: root.first('name')?.text.trim() ?? '',
    uuid: root.first('uuid')?.text.trim(),
    targets: targets.filter((target) => target !== ''),
    nbdDisks: disks.map(nbdDisk).filter((disk) => disk !== undefined),
    iothreads: Number(root.first('iothreads')?.text ?? 0) > 0,
  };
}

/** Undefined: the disk is something else. */
export function nbdDisk(disk: Element): NbdDisk | undefined {
  const source = disk.first('source');
  const target = disk.first('target');
  if (source?.attribute('protocol') !== 'nbd' || disk.attribute('type') !== 'network') return undefined;
  const place = placeOf(source.first('host'));
  if (place === undefined || target === undefined) return undefined;
  const driver = disk.first('driver');
  const names = ['type', 'cache', 'discard', 'detect_zeroes', 'error_policy', 'rerror_policy'] as const;
  return {
    target: target.attribute('dev') ?? '',
    bus: target.attribute('bus'),
    device: disk.attribute('device') ?? 'disk',
    exportName: source.attribute('name') ?? '',
    place,
    tls: source.attribute('tls') === 'yes',
    readOnly: disk.first('readonly') !== undefined,
    driver: Object.fromEntries(names.map((name) => [name, driver?.attribute(name)])),
    reconnectDelayS: wholeNumber(source.first('reconnect')?.attribute('delay')),
    alias: disk.first('alias')?.attribute('name'),
    sourceIndex: wholeNumber(source.attribute('index')),
    element: disk,
  };
}

function placeOf(host: Element | undefined): NbdPlace | undefined {
  const socket = host?.attribute('socket');
  if (socket !== undefined) return { socket };
  const name = host?.attribute('name');
  if (name === undefined) return undefined;
  return { host: name, port: wholeNumber(host?.attribute('port')) ?? NBD_PORT_DEFAULT };
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

export function isSamePlace(a: NbdPlace, b: NbdPlace): boolean {
  if ('socket' in a) return 'socket' in b && a.socket === b.socket;
  return 'host' in b && a.host === b.host && a.port === b.port;
}

/** Volume and snapshot of an export: `vol` or `vol@tag`; names have no `@`. */
export function volumeOf(exportName: string): { volume: string; snapshot: string | undefined } {
  const at = exportName.indexOf('@');
  if (at < 0) return { volume: exportName, snapshot: undefined };
  return { volume: exportName.slice(0, at), snapshot: exportName.slice(at + 1) };
}

/** Text as it may stand in an element or in an attribute in single or double quotes. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
