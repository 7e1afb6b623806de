import { AppError } from '../base/errors.js';
import { keys, type LineRecord } from '../volume/records.js';
import { attrId, sdHashVdi } from '../wire/hash.js';
import { vdiRequest, vdiResponse } from '../wire/headers.js';
import { indexOf, vidOf } from '../wire/oid.js';
import { ATTR_VALUE_BYTES, attribute } from '../wire/records.js';
import { Flag, Op, Result } from '../wire/sheepdog.js';
import type { Answer, Operation, Request } from './operation.js';
import type { DoorParts } from './parts.js';

interface Stored {
  readonly key: string;
  readonly id: number;
  /** Base64. */
  readonly value: string;
}

/**
 * Attributes as the protocol shows them (reference, section 5.5): objects whose ids come from hashes of the volume's
 * name and of the key. They are kept in the coordinator, by line and key, where `dog` finds the same ones.
 */
export class Attributes {
  constructor(private readonly parts: DoorParts) {}

  operations(): [number, Operation][] {
    return [[Op.GET_VDI_ATTR, (request) => this.get(request)]];
  }

  /** A range of an attribute object. */
  async read(oid: bigint, offset: number, length: number): Promise<Uint8Array> {
    if (offset + length > attribute.sizeBytes)
      throw new AppError('invalid', 'the range is outside of the object');
    const hash = vidOf(oid);
    for (const line of this.parts.directory.lines()) {
      if (sdHashVdi(line.name) !== hash) continue;
      const found = (await this.of(line)).find((stored) => stored.id === indexOf(oid));
      if (found === undefined) continue;
      const value = Buffer.from(found.value, 'base64');
      const { name } = line;
      const bytes = attribute.encode({ name, key: found.key, valueLength: value.length, value });
      return bytes.subarray(offset, offset + length);
    }
    throw new AppError('no-object', 'no such attribute');
  }

  private async get(request: Request): Promise<Answer> {
    if (request.payload.length !== attribute.sizeBytes) {
      throw new AppError('invalid', `an attribute has ${attribute.sizeBytes} bytes`);
    }
    const asked = attribute.decode(request.payload);
    const { snapId } = vdiRequest.decode(request.header);
    if (asked.tag !== '' || snapId !== 0) {
      throw new AppError('not-supported', 'attributes belong to a volume with all its snapshots');
    }
    if (asked.valueLength > ATTR_VALUE_BYTES || asked.key === '')
      throw new AppError('invalid', 'no such attribute');
    const record = await this.parts.directory.findNow({ name: asked.name });
    const line = this.parts.directory.line(record.line)!;
    await this.change(line, asked.key, asked.value.subarray(0, asked.valueLength), request.flags);
    const stored = await this.of(line);
    const id = stored.find(({ key }) => key === asked.key)?.id ?? attrId(asked.name, '', 0, asked.key);
    const header = vdiResponse.encode({ vid: sdHashVdi(line.name), attrId: id, copies: record.copies });
    return { result: Result.SUCCESS, header };
  }

  private async change(line: LineRecord, name: string, value: Buffer, flags: number): Promise<void> {
    const { coordinator } = this.parts;
    const key = keys.attribute(line.id, name);
    const exists = [{ key, exists: true }];
    if ((flags & Flag.DEL) !== 0) {
      const { ok } = await coordinator.txn(exists, [{ type: 'delete', key }]);
      if (!ok) throw new AppError('no-object', 'no such attribute');
    } else if ((flags & Flag.CREAT) !== 0) {
      const compares = (flags & Flag.EXCL) !== 0 ? [{ key, exists: false }] : [];
      const { ok } = await coordinator.txn(compares, [{ type: 'put', key, value: value.toString('base64') }]);
      if (!ok) throw new AppError('vdi-exists', 'the attribute exists already');
    } else if ((await coordinator.get(key)) === undefined) {
      throw new AppError('no-object', 'no such attribute');
    }
  }

  /** Keys with equal hashes get neighbouring ids, in the order in which they were made. */
  private async of(line: LineRecord): Promise<Stored[]> {
    const prefix = keys.attribute(line.id, '');
    const { entries } = await this.parts.coordinator.list(prefix);
    const taken = new Set<number>();
    return [...entries]
      .sort((a, b) => a.createRevision - b.createRevision)
      .map((kv) => {
        const key = kv.key.slice(prefix.length);
        let id = attrId(line.name, '', 0, key);
        while (taken.has(id)) id = (id + 1) >>> 0;
        taken.add(id);
        return { key, id, value: kv.value };
      });
  }
}
