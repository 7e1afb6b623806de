/**
 * Which tail of an object a journal record stands on. After a crash the older tail serves with the journal when the
 * newer was torn by the crash: the journal has all that it would have said. One that has rotted since its segment was
 * freed is another matter, and replay tells the two by this mark. Three bytes: only nearby sequences are compared.
 */
const MARKS = 0xff_ffff;

/** The record says nothing: an object that it makes, one of whose tail an earlier record told, an old journal. */
export const NO_MARK = 0;

export function tailMark(tailSequence: number): number {
  return (tailSequence % MARKS) + 1;
}

/** The tail comes before the one of the mark. */
export function isBeforeMark(tailSequence: number, mark: number): boolean {
  if (mark === NO_MARK) return false;
  const ahead = (mark - tailMark(tailSequence) + MARKS) % MARKS;
  return ahead > 0 && ahead < MARKS / 2;
}
