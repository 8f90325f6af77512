#!/usr/bin/env python3
"""Writes digits.csv from scikit-learn's copy of the digits.

    pip install scikit-learn==1.9.1
    python3 build.py
"""
import csv
import pathlib

from sklearn.datasets import load_digits


def main():
    digits = load_digits()
    rows = digits.data.astype(int)
    assert (rows == digits.data).all() and rows.shape == (1797, 64)
    with open(pathlib.Path(__file__).with_name("digits.csv"), "w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", "parity"] + [f"p{pixel}" for pixel in range(64)])
        for label, pixels in zip(digits.target.tolist(), rows.tolist()):
            writer.writerow([label, "odd" if label % 2 else "even"] + pixels)


if __name__ == "__main__":
    main()
