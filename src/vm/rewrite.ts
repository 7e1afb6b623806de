import { AppError } from '../base/errors.js';
import {
  escapeXml,
  isSamePlace,
  type NbdDisk,
  type NbdPlace,
  nbdDisk,
  parseDomain,
  parseXml,
} from './domain-xml.js';

/**
 * Changes where NBD disks of a domain point to, and not a character else: what we do not know of a definition must
 * survive. The text is libvirt's own, whose `<disk>` elements stand under `<devices>` and never in each other. What
 * comes out is read again, and must be what was meant. Rejects with AppError 'invalid'.
 */
export async function rewritePlaces(
  domainXml: string,
  placeFor: (disk: NbdDisk) => NbdPlace | undefined,
): Promise<string> {
  const begin = domainXml.lastIndexOf('<devices>');
  if (begin < 0) return domainXml;
  let devices = '';
  let at = begin;
  for (const match of domainXml.slice(begin).matchAll(/<disk\b[^>]*>.*?<\/disk>/gs)) {
    const start = begin + match.index;
    devices += domainXml.slice(at, start) + (await rewriteDisk(match[0], placeFor));
    at = start + match[0].length;
  }
  const rewritten = domainXml.slice(0, begin) + devices + domainXml.slice(at);
  for (const disk of (await parseDomain(rewritten)).nbdDisks) {
    const wanted = placeFor(disk);
    if (wanted !== undefined && !isSamePlace(disk.place, wanted)) {
      throw new AppError('invalid', `${disk.target}: where it points to could not be changed`);
    }
  }
  return rewritten;
}

async function rewriteDisk(text: string, placeFor: (disk: NbdDisk) => NbdPlace | undefined): Promise<string> {
  // Elements of other name spaces in it lack their declarations here, which the parser does not mind.
  const disk = nbdDisk(await parseXml(text, 'disk'));
  const place = disk === undefined ? undefined : placeFor(disk);
  if (disk === undefined || place === undefined || isSamePlace(disk.place, place)) return text;
  // The first source is the disk's own; those of backing files and mirrors come after it.
  const source = /<source\b.*?<\/source>/s.exec(text);
  if (source === null) return text;
  const host = source[0].replace(/<host\b[^>]*?(\/>|>\s*<\/host>)/s, () => hostXml(place));
  return text.slice(0, source.index) + host + text.slice(source.index + source[0].length);
}

function hostXml(place: NbdPlace): string {
  return 'socket' in place
    ? `<host transport='unix' socket='${escapeXml(place.socket)}'/>`
    : `<host name='${escapeXml(place.host)}' port='${place.port}'/>`;
}
