-- How often a cut lease of this view had sent bytes. Until now every cut counted, by its generation.
ALTER TABLE claims ADD COLUMN disclosures INTEGER NOT NULL DEFAULT 0;
UPDATE claims SET disclosures = generation - (state = 0);
