/** Keeps the records on all disks of a set in step with what the set is: see disk-record.ts. */
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { writeDiskRecord } from './disk-record.js';
import type { Member } from './member.js';

export interface SetRecordOptions {
  readonly log: Logger;
  readonly members: () => readonly Member[];
  readonly generation: number;
  readonly incomplete: boolean;
  readonly onTrouble: (member: Member, error: Error) => void;
}

export class SetRecord {
  incomplete: boolean;
  private generation: number;
  private saving: Promise<void> = Promise.resolve();

  constructor(private readonly options: SetRecordOptions) {
    this.incomplete = options.incomplete;
    this.generation = options.generation;
  }

  /**
   * Durable when it resolves, on every disk that can be written, with what the set was when it began or later. One save
   * after the other. Rejects when no disk took it. `coming`: disks that are about to join.
   */
  save(coming: readonly Member[] = []): Promise<void> {
    const saved = this.saving.catch(() => {}).then(() => this.write(coming));
    this.saving = saved;
    return saved;
  }

  private async write(coming: readonly Member[]): Promise<void> {
    const members = [...this.options.members(), ...coming];
    // One disk that never had another needs no record: it is a store like any other.
    if (this.generation === 0 && members.length < 2) return;
    const generation = ++this.generation;
    const { incomplete } = this;
    const entries = members.map((member) => member.entry);
    let written = 0;
    const write = async (member: Member) => {
      try {
        await writeDiskRecord(member.disk, { id: member.id, generation, incomplete, members: entries });
        written++;
      } catch (error) {
        this.note(member, AppError.from(error, 'io'));
      }
    };
    await Promise.all(members.map(write));
    if (written === 0) throw new AppError('io', 'no disk took the record of the disks');
  }

  /** The highest generation counts, so a disk that is full may keep an old one. */
  private note(member: Member, error: AppError): void {
    const full =
      (error.cause as { code?: string } | undefined)?.code === 'no-space' || error.code === 'no-space';
    const text = 'the record of the disks could not be written';
    this.options.log.warn({ disk: member.name, err: error.message }, text);
    if (!full) this.options.onTrouble(member, error);
  }
}
