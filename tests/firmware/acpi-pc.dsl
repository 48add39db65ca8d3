DefinitionBlock ("", "DSDT", 2, "INNKPR", "INNKPRPC", 0x00000001)
{
    Scope (\_SB)
    {
        OperationRegion (CPST, SystemIO, 0xAD00, 0x08)
        Field (CPST, DWordAcc, NoLock, Preserve)
        {
            P000,   32,
            P001,   32
        }

        Device (C000)
        {
            Name (_HID, "ACPI0007" /* Processor Device */)  // _HID: Hardware ID
            Name (_UID, Zero)  // _UID: Unique ID
        }

        Device (C001)
        {
            Name (_HID, "ACPI0007" /* Processor Device */)  // _HID: Hardware ID
            Name (_UID, One)  // _UID: Unique ID
            Method (_STA, 0, NotSerialized)  // _STA: Status
            {
                If ((P001 & One))
                {
                    Return (0x0F)
                }

                Return (Zero)
            }

            Method (_MAT, 0, NotSerialized)  // _MAT: Multiple APIC Table Entry
            {
                If ((P001 & One))
                {
                    Return (Buffer (0x08)
                    {
                         0x00, 0x08, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00   // ........
                    })
                }

                Return (Buffer (0x08)
                {
                     0x00, 0x08, 0x01, 0x01, 0x02, 0x00, 0x00, 0x00   // ........
                })
            }

            Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
            {
                P001 = 0x08
            }

            Method (_OST, 3, NotSerialized)  // _OST: OSPM Status Indication
            {
                P001 = ((((Arg0 & 0xFF) << 0x08) | (
                    (Arg1 & 0xFF) << 0x10)) | 0x10)
            }
        }

        Method (CPNT, 0, Serialized)
        {
            Local0 = P001 /* \_SB_.P001 */
            If ((Local0 & 0x02))
            {
                P001 = 0x02
                Notify (C001, One) // Device Check
            }

            If ((Local0 & 0x04))
            {
                P001 = 0x04
                Notify (C001, 0x03) // Eject Request
            }
        }

        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03") /* PCI Bus */)  // _HID: Hardware ID
            Name (_UID, Zero)  // _UID: Unique ID
            Name (_BBN, Zero)  // _BBN: BIOS Bus Number
            Name (_CRS, ResourceTemplate ()  // _CRS: Current Resource Settings
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0x0000,             // Granularity
                    0x0000,             // Range Minimum
                    0x0000,             // Range Maximum
                    0x0000,             // Translation Offset
                    0x0001,             // Length
                    ,, )
                IO (Decode16,
                    0x0CF8,             // Range Minimum
                    0x0CF8,             // Range Maximum
                    0x01,               // Alignment
                    0x08,               // Length
                    )
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000,             // Granularity
                    0x0000,             // Range Minimum
                    0x0CF7,             // Range Maximum
                    0x0000,             // Translation Offset
                    0x0CF8,             // Length
                    ,, , TypeStatic, DenseTranslation)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000,             // Granularity
                    0x0D00,             // Range Minimum
                    0xFFFF,             // Range Maximum
                    0x0000,             // Translation Offset
                    0xF300,             // Length
                    ,, , TypeStatic, DenseTranslation)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0x00000000,         // Granularity
                    0x000A0000,         // Range Minimum
                    0x000BFFFF,         // Range Maximum
                    0x00000000,         // Translation Offset
                    0x00020000,         // Length
                    ,, , AddressRangeMemory, TypeStatic)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0x00000000,         // Granularity
                    0x80000000,         // Range Minimum
                    0xFEBFFFFF,         // Range Maximum
                    0x00000000,         // Translation Offset
                    0x7EC00000,         // Length
                    ,, , AddressRangeMemory, TypeStatic)
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0x0000000000000000, // Granularity
                    0x0000000100000000, // Range Minimum
                    0x000000FFFFFFFFFF, // Range Maximum
                    0x0000000000000000, // Translation Offset
                    0x000000FF00000000, // Length
                    ,, , AddressRangeMemory, TypeStatic)
            })
            Device (ISA)
            {
                Name (_ADR, 0x00010000)  // _ADR: Address
                Device (COM1)
                {
                    Name (_HID, EisaId ("PNP0501") /* 16550A-compatible COM Serial Port */)  // _HID: Hardware ID
                    Name (_CRS, ResourceTemplate ()  // _CRS: Current Resource Settings
                    {
                        IO (Decode16,
                            0x03F8,             // Range Minimum
                            0x03F8,             // Range Maximum
                            0x01,               // Alignment
                            0x08,               // Length
                            )
                        IRQNoFlags ()
                            {4}
                    })
                }

                Device (RTC)
                {
                    Name (_HID, EisaId ("PNP0B00") /* AT Real-Time Clock */)  // _HID: Hardware ID
                    Name (_CRS, ResourceTemplate ()  // _CRS: Current Resource Settings
                    {
                        IO (Decode16,
                            0x0070,             // Range Minimum
                            0x0070,             // Range Maximum
                            0x01,               // Alignment
                            0x02,               // Length
                            )
                        IRQNoFlags ()
                            {8}
                    })
                }

                Device (KBD)
                {
                    Name (_HID, EisaId ("PNP0303") /* IBM Enhanced Keyboard (101/102-key, PS/2 Mouse) */)  // _HID: Hardware ID
                    Name (_CRS, ResourceTemplate ()  // _CRS: Current Resource Settings
                    {
                        IO (Decode16,
                            0x0060,             // Range Minimum
                            0x0060,             // Range Maximum
                            0x01,               // Alignment
                            0x01,               // Length
                            )
                        IO (Decode16,
                            0x0064,             // Range Minimum
                            0x0064,             // Range Maximum
                            0x01,               // Alignment
                            0x01,               // Length
                            )
                        IRQNoFlags ()
                            {1}
                    })
                }

                Device (MOU)
                {
                    Name (_HID, EisaId ("PNP0F13") /* PS/2 Mouse */)  // _HID: Hardware ID
                    Name (_CRS, ResourceTemplate ()  // _CRS: Current Resource Settings
                    {
                        IRQNoFlags ()
                            {12}
                    })
                }

                Device (FWCF)
                {
                    Name (_HID, "QEMU0002")  // _HID: Hardware ID
                    Name (_STA, 0x0B)  // _STA: Status
                    Name (_CRS, ResourceTemplate ()  // _CRS: Current Resource Settings
                    {
                        IO (Decode16,
                            0x0510,             // Range Minimum
                            0x0510,             // Range Maximum
                            0x01,               // Alignment
                            0x0C,               // Length
                            )
                    })
                }

                Device (PM)
                {
                    Name (_HID, EisaId ("PNP0C02") /* PNP Motherboard Resources */)  // _HID: Hardware ID
                    Name (_STA, 0x0B)  // _STA: Status
                    Name (_CRS, ResourceTemplate ()  // _CRS: Current Resource Settings
                    {
                        IO (Decode16,
                            0x0600,             // Range Minimum
                            0x0600,             // Range Maximum
                            0x01,               // Alignment
                            0x40,               // Length
                            )
                        IO (Decode16,
                            0xAD00,             // Range Minimum
                            0xAD00,             // Range Maximum
                            0x01,               // Alignment
                            0x80,               // Length
                            )
                        IO (Decode16,
                            0xAD80,             // Range Minimum
                            0xAD80,             // Range Maximum
                            0x01,               // Alignment
                            0x80,               // Length
                            )
                        IO (Decode16,
                            0xAE00,             // Range Minimum
                            0xAE00,             // Range Maximum
                            0x01,               // Alignment
                            0x0C,               // Length
                            )
                    })
                }
            }

            OperationRegion (PCST, SystemIO, 0xAE00, 0x0C)
            Field (PCST, DWordAcc, NoLock, Preserve)
            {
                PCIU,   32,
                PCID,   32,
                PCEJ,   32
            }

            Device (S02)
            {
                Name (_ADR, 0x00020000)  // _ADR: Address
                Name (_SUN, 0x02)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x04
                }
            }

            Device (S03)
            {
                Name (_ADR, 0x00030000)  // _ADR: Address
                Name (_SUN, 0x03)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x08
                }
            }

            Device (S04)
            {
                Name (_ADR, 0x00040000)  // _ADR: Address
                Name (_SUN, 0x04)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x10
                }
            }

            Device (S05)
            {
                Name (_ADR, 0x00050000)  // _ADR: Address
                Name (_SUN, 0x05)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x20
                }
            }

            Device (S06)
            {
                Name (_ADR, 0x00060000)  // _ADR: Address
                Name (_SUN, 0x06)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x40
                }
            }

            Device (S07)
            {
                Name (_ADR, 0x00070000)  // _ADR: Address
                Name (_SUN, 0x07)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x80
                }
            }

            Device (S08)
            {
                Name (_ADR, 0x00080000)  // _ADR: Address
                Name (_SUN, 0x08)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x0100
                }
            }

            Device (S09)
            {
                Name (_ADR, 0x00090000)  // _ADR: Address
                Name (_SUN, 0x09)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x0200
                }
            }

            Device (S0A)
            {
                Name (_ADR, 0x000A0000)  // _ADR: Address
                Name (_SUN, 0x0A)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x0400
                }
            }

            Device (S0B)
            {
                Name (_ADR, 0x000B0000)  // _ADR: Address
                Name (_SUN, 0x0B)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x0800
                }
            }

            Device (S0C)
            {
                Name (_ADR, 0x000C0000)  // _ADR: Address
                Name (_SUN, 0x0C)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x1000
                }
            }

            Device (S0D)
            {
                Name (_ADR, 0x000D0000)  // _ADR: Address
                Name (_SUN, 0x0D)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x2000
                }
            }

            Device (S0E)
            {
                Name (_ADR, 0x000E0000)  // _ADR: Address
                Name (_SUN, 0x0E)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x4000
                }
            }

            Device (S0F)
            {
                Name (_ADR, 0x000F0000)  // _ADR: Address
                Name (_SUN, 0x0F)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x8000
                }
            }

            Device (S10)
            {
                Name (_ADR, 0x00100000)  // _ADR: Address
                Name (_SUN, 0x10)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x00010000
                }
            }

            Device (S11)
            {
                Name (_ADR, 0x00110000)  // _ADR: Address
                Name (_SUN, 0x11)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x00020000
                }
            }

            Device (S12)
            {
                Name (_ADR, 0x00120000)  // _ADR: Address
                Name (_SUN, 0x12)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x00040000
                }
            }

            Device (S13)
            {
                Name (_ADR, 0x00130000)  // _ADR: Address
                Name (_SUN, 0x13)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x00080000
                }
            }

            Device (S14)
            {
                Name (_ADR, 0x00140000)  // _ADR: Address
                Name (_SUN, 0x14)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x00100000
                }
            }

            Device (S15)
            {
                Name (_ADR, 0x00150000)  // _ADR: Address
                Name (_SUN, 0x15)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x00200000
                }
            }

            Device (S16)
            {
                Name (_ADR, 0x00160000)  // _ADR: Address
                Name (_SUN, 0x16)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x00400000
                }
            }

            Device (S17)
            {
                Name (_ADR, 0x00170000)  // _ADR: Address
                Name (_SUN, 0x17)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x00800000
                }
            }

            Device (S18)
            {
                Name (_ADR, 0x00180000)  // _ADR: Address
                Name (_SUN, 0x18)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x01000000
                }
            }

            Device (S19)
            {
                Name (_ADR, 0x00190000)  // _ADR: Address
                Name (_SUN, 0x19)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x02000000
                }
            }

            Device (S1A)
            {
                Name (_ADR, 0x001A0000)  // _ADR: Address
                Name (_SUN, 0x1A)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x04000000
                }
            }

            Device (S1B)
            {
                Name (_ADR, 0x001B0000)  // _ADR: Address
                Name (_SUN, 0x1B)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x08000000
                }
            }

            Device (S1C)
            {
                Name (_ADR, 0x001C0000)  // _ADR: Address
                Name (_SUN, 0x1C)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x10000000
                }
            }

            Device (S1D)
            {
                Name (_ADR, 0x001D0000)  // _ADR: Address
                Name (_SUN, 0x1D)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x20000000
                }
            }

            Device (S1E)
            {
                Name (_ADR, 0x001E0000)  // _ADR: Address
                Name (_SUN, 0x1E)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x40000000
                }
            }

            Device (S1F)
            {
                Name (_ADR, 0x001F0000)  // _ADR: Address
                Name (_SUN, 0x1F)  // _SUN: Slot User Number
                Method (_EJ0, 1, NotSerialized)  // _EJx: Eject Device, x=0-9
                {
                    PCEJ = 0x80000000
                }
            }

            Method (DVNT, 2, NotSerialized)
            {
                If ((Arg0 & 0x04))
                {
                    Notify (S02, Arg1)
                }

                If ((Arg0 & 0x08))
                {
                    Notify (S03, Arg1)
                }

                If ((Arg0 & 0x10))
                {
                    Notify (S04, Arg1)
                }

                If ((Arg0 & 0x20))
                {
                    Notify (S05, Arg1)
                }

                If ((Arg0 & 0x40))
                {
                    Notify (S06, Arg1)
                }

                If ((Arg0 & 0x80))
                {
                    Notify (S07, Arg1)
                }

                If ((Arg0 & 0x0100))
                {
                    Notify (S08, Arg1)
                }

                If ((Arg0 & 0x0200))
                {
                    Notify (S09, Arg1)
                }

                If ((Arg0 & 0x0400))
                {
                    Notify (S0A, Arg1)
                }

                If ((Arg0 & 0x0800))
                {
                    Notify (S0B, Arg1)
                }

                If ((Arg0 & 0x1000))
                {
                    Notify (S0C, Arg1)
                }

                If ((Arg0 & 0x2000))
                {
                    Notify (S0D, Arg1)
                }

                If ((Arg0 & 0x4000))
                {
                    Notify (S0E, Arg1)
                }

                If ((Arg0 & 0x8000))
                {
                    Notify (S0F, Arg1)
                }

                If ((Arg0 & 0x00010000))
                {
                    Notify (S10, Arg1)
                }

                If ((Arg0 & 0x00020000))
                {
                    Notify (S11, Arg1)
                }

                If ((Arg0 & 0x00040000))
                {
                    Notify (S12, Arg1)
                }

                If ((Arg0 & 0x00080000))
                {
                    Notify (S13, Arg1)
                }

                If ((Arg0 & 0x00100000))
                {
                    Notify (S14, Arg1)
                }

                If ((Arg0 & 0x00200000))
                {
                    Notify (S15, Arg1)
                }

                If ((Arg0 & 0x00400000))
                {
                    Notify (S16, Arg1)
                }

                If ((Arg0 & 0x00800000))
                {
                    Notify (S17, Arg1)
                }

                If ((Arg0 & 0x01000000))
                {
                    Notify (S18, Arg1)
                }

                If ((Arg0 & 0x02000000))
                {
                    Notify (S19, Arg1)
                }

                If ((Arg0 & 0x04000000))
                {
                    Notify (S1A, Arg1)
                }

                If ((Arg0 & 0x08000000))
                {
                    Notify (S1B, Arg1)
                }

                If ((Arg0 & 0x10000000))
                {
                    Notify (S1C, Arg1)
                }

                If ((Arg0 & 0x20000000))
                {
                    Notify (S1D, Arg1)
                }

                If ((Arg0 & 0x40000000))
                {
                    Notify (S1E, Arg1)
                }

                If ((Arg0 & 0x80000000))
                {
                    Notify (S1F, Arg1)
                }
            }

            Method (PCNT, 0, Serialized)
            {
                DVNT (PCIU, One)
                DVNT (PCID, 0x03)
            }
        }
    }

    Scope (\_GPE)
    {
        Method (_E01, 0, NotSerialized)  // _Exx: Edge-Triggered GPE, xx=0x00-0xFF
        {
            \_SB.PCI0.PCNT ()
        }
    }

    Scope (\_GPE)
    {
        Method (_E02, 0, NotSerialized)  // _Exx: Edge-Triggered GPE, xx=0x00-0xFF
        {
            \_SB.CPNT ()
        }
    }

    Name (\_S3, Package (0x04)  // _S3_: S3 System State
    {
        One,
        One,
        Zero,
        Zero
    })
    Name (\_S5, Package (0x04)  // _S5_: S5 System State
    {
        0x05,
        0x05,
        Zero,
        Zero
    })
}

