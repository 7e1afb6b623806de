import { AppError } from '../base/errors.js';
import type { Directory } from '../volume/directory.js';
import type { LockHolder, Locks } from '../volume/locks.js';
import type { LockInfo, NodeInfo } from './api.js';
import * as check from './params.js';

export interface LockCallsOptions {
  readonly directory: Directory;
  readonly locks: Locks;
  readonly nodes: () => NodeInfo[];
}

/** Who has which volume open by the sheepdog protocol, and taking it from them. */
export class LockCalls {
  constructor(private readonly options: LockCallsOptions) {}

  list(): LockInfo[] {
    const { directory, locks } = this.options;
    const infos: LockInfo[] = [];
    for (const id of locks.lines()) {
      const line = directory.line(id);
      if (line === undefined) continue;
      const holders = locks.holders(id);
      const owners = holders.map((holder) => this.ownerOf(holder));
      const shared = holders.every((holder) => holder.shared);
      infos.push({ name: line.name, vid: line.vid, snapId: 0, tag: '', owners, shared });
    }
    return infos.sort((a, b) => a.vid - b.vid);
  }

  async unlock(fields: check.Fields): Promise<Record<string, never>> {
    const record = await this.options.directory.findNow(check.checkVdiRef(fields));
    if (this.options.locks.holders(record.line).length === 0) {
      throw new AppError('missing', 'VDI is not locked');
    }
    await this.options.locks.unlock(record.line, () => true);
    return {};
  }

  private ownerOf(holder: LockHolder): LockInfo['owners'][number] {
    const node = this.options.nodes().find(({ id }) => id === holder.nodeId);
    const place = { host: node?.host ?? '', port: node?.port ?? 0 };
    return holder.state === undefined ? place : { ...place, state: holder.state };
  }
}
