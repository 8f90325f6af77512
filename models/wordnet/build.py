#!/usr/bin/env python3
"""Writes glosses.csv, examples.csv and LICENSE from the WordNet 3.0 database.

    apt-get download wordnet-base && dpkg -x wordnet-base_*.deb wordnet
    python3 build.py wordnet/usr/share/wordnet

Requires only Python 3.9 or newer. Candidates are ordered by their SHA-256 hash and chosen in that order, so the same
database always produces the same files, byte for byte. README.md describes the files and what is excluded from them.
"""
import argparse
import collections
import csv
import hashlib
import pathlib
import re

SEED = "wordnet-1"
FOLDER = pathlib.Path(__file__).resolve().parent
FILES = ["noun", "verb", "adj", "adv"]
PARTS = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}

# Lexicographer files (lexnames(5WN)) that are the classes of glosses.csv.
LEXICOGRAPHER = {
    5: "noun.animal",
    6: "noun.artifact",
    8: "noun.body",
    12: "noun.feeling",
    13: "noun.food",
    15: "noun.location",
    18: "noun.person",
    20: "noun.plant",
    27: "noun.substance",
    28: "noun.time",
}
OFFENSIVE = re.compile(r"offensive|slur\b|disparag|derogat|obscen|vulgar|taboo")
GLOSS_WORDS = range(4, 26)
GLOSSES = {"train": 150, "test": 50}  # rows per class

SENTENCE_WORDS = range(3, 21)
EXAMPLES = {"train": 700, "test": 200}  # rows per part of speech
# Largest number of rows per part of speech whose word type has several parts of speech in its split.
SEVERAL = {"train": 300, "test": 80}
TEST_SHARE = 0.25  # share of the word types that are assigned to the test split
ROWS_A_WORD = 3  # largest number of rows per word type and part of speech

Synset = collections.namedtuple("Synset", "part key lexicographer lemmas instance gloss")
Row = collections.namedtuple("Row", "text start end label word")


def order(*key):
    """A pseudo-random sort key that is the same on every machine: the SHA-256 of SEED and `key`, in hexadecimal."""
    return hashlib.sha256("\t".join(map(str, (SEED,) + key)).encode()).hexdigest()


def synsets(folder, part):
    """Yields the synsets of one part of speech, without those whose gloss says that the word is offensive."""
    for line in (folder / f"data.{part}").read_text("ascii").splitlines():
        if line.startswith("  "):  # the licence
            continue
        head, gloss = line.split(" | ", 1)
        if OFFENSIVE.search(gloss):
            continue
        fields = head.split(" ")
        count = int(fields[3], 16)
        lemmas = [re.sub(r"\((a|p|ip)\)$", "", lemma) for lemma in fields[4 : 4 + 2 * count : 2]]
        yield Synset(part, fields[0], int(fields[1]), lemmas, "@i" in fields, gloss.strip())


class Sets:
    """Disjoint sets of names (union-find)."""

    def __init__(self):
        self.parent = {}

    def find(self, name):
        self.parent.setdefault(name, name)
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def join(self, names):
        roots = sorted({self.find(name) for name in names})
        for root in roots[1:]:
            self.parent[root] = roots[0]


# Glosses


def definition(gloss):
    """The part of a gloss before the examples, or None if that part contains a quotation."""
    text = gloss.split('; "', 1)[0].strip().rstrip(";").strip()
    return None if '"' in text else text


def glosses(nouns):
    """Rows (text, label, split) of glosses.csv. No lemma occurs in both splits."""
    by_text = collections.defaultdict(list)
    for synset in nouns:
        text = definition(synset.gloss)
        if synset.lexicographer in LEXICOGRAPHER and not synset.instance and text:
            if len(text.split()) in GLOSS_WORDS:
                by_text[text].append(synset)
    chosen = {label: [] for label in LEXICOGRAPHER.values()}
    wanted = sum(GLOSSES.values())
    for text in sorted(by_text, key=lambda text: order("gloss", text)):
        label = LEXICOGRAPHER[by_text[text][0].lexicographer]
        if len(by_text[text]) == 1 and len(chosen[label]) < wanted:
            chosen[label].append(by_text[text][0])
    sets = Sets()
    for synset in sum(chosen.values(), []):
        sets.join(lemma.lower() for lemma in synset.lemmas)
    test = test_groups(sets, chosen)
    rows = []
    for label, members in chosen.items():
        for synset in members:
            split = "test" if sets.find(synset.lemmas[0].lower()) in test else "train"
            rows.append((definition(synset.gloss), label, split))
    return sorted(rows, key=lambda row: order("gloss row", row[0]))


def test_groups(sets, chosen):
    """Chooses groups of synsets that share lemmas, in order, until every class has its test rows."""
    groups = collections.defaultdict(collections.Counter)
    for label, members in chosen.items():
        for synset in members:
            groups[sets.find(synset.lemmas[0].lower())][label] += 1
    left = {label: GLOSSES["test"] for label in chosen}
    test = set()
    for group in sorted(groups, key=lambda group: order("gloss split", group)):
        if all(left[label] >= count for label, count in groups[group].items()):
            test.add(group)
            for label, count in groups[group].items():
                left[label] -= count
    assert not any(left.values()), left
    return test


# Examples


def exceptions(folder):
    """Irregular inflections: (part, lemma) -> forms."""
    forms = collections.defaultdict(set)
    for part in FILES:
        for line in (folder / f"{part}.exc").read_text("ascii").splitlines():
            form, *lemmas = line.split()
            for lemma in lemmas:
                forms[part, lemma].add(form)
    return forms


def inflected(part, lemma, irregular):
    """The lemma and its inflected forms. Includes forms that do not exist, which no sentence contains."""
    forms = {lemma} | irregular.get((part, lemma), set())
    stem = lemma[:-1] if lemma.endswith(("e", "y")) else lemma
    if part in ("noun", "verb"):
        forms |= {lemma + "s", lemma + "es"} | ({stem + "ies"} if lemma.endswith("y") else set())
    if part == "verb":
        forms |= {lemma + "ed", lemma + "ing", lemma + lemma[-1] + "ed", lemma + lemma[-1] + "ing"}
        forms |= {lemma + "d", stem + "ing"} if lemma.endswith("e") else set()
        forms |= {stem + "ied"} if lemma.endswith("y") else set()
    if part == "adj":
        forms |= {lemma + "er", lemma + "est", lemma + lemma[-1] + "er", lemma + lemma[-1] + "est"}
        forms |= {lemma + "r", lemma + "st"} if lemma.endswith("e") else set()
        forms |= {stem + "ier", stem + "iest"} if lemma.endswith("y") else set()
    return forms


def sentences(gloss):
    """Yields the quoted examples that are not followed by an author."""
    for found in re.finditer(r'"([^"]*)"(\s*\(?-)?', gloss):
        if not found.group(2):
            yield found.group(1).strip()


def example(synset, text, irregular):
    """The row of a sentence, or None if the headword is ambiguous or the sentence is unsuitable."""
    if len(text.split()) not in SENTENCE_WORDS or not text.isascii() or re.search(r"[\"\[\]{}<>|_]", text):
        return None
    words = [(found.group().lower(), found.span()) for found in re.finditer(r"[A-Za-z]+(?:['-][A-Za-z]+)*", text)]
    single = [lemma.lower() for lemma in synset.lemmas if re.fullmatch(r"[a-zA-Z]{2,}", lemma)]
    found = []
    for lemma in dict.fromkeys(single):
        forms = inflected(synset.part, lemma, irregular)
        found += [(lemma, span) for word, span in words if word in forms]
    if len(found) != 1:
        return None
    # "look up" is a separate lemma: a word that is a piece of a longer lemma of the synset may belong to that lemma.
    lemma, (start, end) = found[0]
    for longer in synset.lemmas:
        pieces = re.split("[_-]", longer.lower())
        if len(pieces) > 1 and {lemma, text[start:end].lower()} & set(pieces):
            return None
    return Row(text, start, end, PARTS[synset.part], lemma)


def candidates(folder):
    """All possible rows of examples.csv, one per sentence."""
    irregular = exceptions(folder)
    by_text = collections.defaultdict(set)
    for part in FILES:
        for synset in synsets(folder, part):
            for text in sentences(synset.gloss):
                row = example(synset, text, irregular)
                if row:
                    by_text[text.lower()].add(row)
    return [min(rows, key=lambda row: order("headword", *row)) for _, rows in sorted(by_text.items())]


def examples(folder):
    """Rows (text, start, end, label, word, split) of examples.csv. No word type or form of it occurs in both splits."""
    rows = candidates(folder)
    sets = Sets()
    for row in rows:
        sets.join([row.word, row.text[row.start : row.end].lower()])
    by_word = collections.defaultdict(lambda: collections.defaultdict(list))
    for row in rows:
        by_word[row.word][row.label].append(row)
    chosen = []
    for split, quota in EXAMPLES.items():
        words = [word for word in by_word if split_of(sets.find(word)) == split]
        words.sort(key=lambda word: order("word", word))
        for row in rows_of_split(words, by_word, quota, SEVERAL[split]):
            chosen.append(tuple(row) + (split,))
    return sorted(chosen, key=lambda row: order("example row", row[0]))


def split_of(group):
    return "test" if int(order("word split", group)[:8], 16) < TEST_SHARE * 2**32 else "train"


def rows_of_split(words, by_word, quota, several_quota):
    several = of_several(words, by_word, several_quota)
    counts = collections.Counter(row.label for row in several)
    return several + of_one(words, by_word, {label: quota - counts[label] for label in PARTS.values()})


def best(rows, count):
    return sorted(rows, key=lambda row: order("example", *row))[:count]


def of_several(words, by_word, quota):
    """Rows of words with at least two parts of speech among the rows, at most `quota` rows per part of speech."""
    left = {label: quota for label in PARTS.values()}
    chosen = []
    # Adverbs that are also another part of speech are the rarest, so their words are chosen first.
    for word in sorted(words, key=lambda word: "adverb" not in by_word[word]):
        taken = {label: best(rows, min(ROWS_A_WORD, left[label])) for label, rows in by_word[word].items()}
        taken = {label: rows for label, rows in taken.items() if rows}
        if len(taken) >= 2:
            for label, rows in taken.items():
                left[label] -= len(rows)
                chosen += rows
    return chosen


def of_one(words, by_word, left):
    """Rows of words with one part of speech, exactly `left[label]` rows per part of speech."""
    chosen = []
    for word in words:
        if len(by_word[word]) == 1:
            ((label, rows),) = by_word[word].items()
            rows = best(rows, min(ROWS_A_WORD, left[label]))
            left[label] -= len(rows)
            chosen += rows
    assert not any(left.values()), left
    return chosen


# Files


def write(name, header, rows):
    with open(FOLDER / name, "w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def licence(folder):
    """Writes LICENSE: the notice at the start of the database, without its line numbers."""
    lines = (folder / "data.noun").read_text("ascii").splitlines()[:29]
    text = [re.sub(r"^\s*\d+ ?", "", line).rstrip() for line in lines]
    (FOLDER / "LICENSE").write_text("WordNet Release 3.0\n\n" + "\n".join(text) + "\n", "ascii")


def report(title, counts):
    print(title)
    for key, count in sorted(counts.items()):
        print(f"  {' '.join(map(str, key)):32} {count:5}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=pathlib.Path, help="folder of the WordNet database (data.noun, noun.exc, ...)")
    folder = parser.parse_args().database
    licence(folder)

    rows = glosses(list(synsets(folder, "noun")))
    write("glosses.csv", ["text", "label", "split"], rows)
    report("glosses", collections.Counter((split, label) for _, label, split in rows))

    rows = examples(folder)
    write("examples.csv", ["text", "start", "end", "label", "word", "split"], rows)
    report("examples", collections.Counter((row[5], row[3]) for row in rows))
    labels, forms = collections.defaultdict(set), collections.defaultdict(set)
    for text, start, end, label, word, split in rows:
        labels[split, word].add(label)
        forms[split, word].add(text[start:end].lower())
    report("word types, by parts of speech", collections.Counter((s, len(l)) for (s, _), l in labels.items()))
    report("rows, by parts of speech of the type", collections.Counter((r[5], len(labels[r[5], r[4]])) for r in rows))
    inflections = collections.Counter((row[5], row[1] != 0, row[0][row[1] : row[2]].lower() != row[4]) for row in rows)
    report("rows (split, not first word, inflected)", inflections)


if __name__ == "__main__":
    main()
